"""Why an object isn't in the copy is told by the vault's own one, and checks are spread and go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from coffre.catalogue.index import Catalogue
from coffre.catalogue.rebuild import rebuild
from coffre.catalogue.standing import read_standing
from coffre.databases.registration import Registration
from coffre.errors import NoCopyError, StoreUnavailableError, UnknownDatabaseError
from coffre.events.base import parse
from coffre.events.verify import CopyRequest, RecheckRequest
from coffre.results import CopyResult
from coffre.vault.keys import SealKeys
from coffre.vault.layout import Layout
from coffre.vault.objects import ObjectInfo
from coffre.vault.parts import Chunk
from coffre.vault.reader import load_manifest, read_part
from coffre.verify.copies import run
from coffre.verify.job import Services
from coffre.verify.run import reread
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.kms import MemoryKms
from tests.fakes.store import FailingStore
from tests.fakes.vault import DATABASE, put_backup
from tests.support.vault import Registrations

OLD, NEW = "20261119T030000Z-daily-aaaaaa", "20261120T030000Z-daily-bbbbbb"
LAYOUT = Layout(DATABASE)
REFUSED = StoreUnavailableError("the store answered AccessDenied")


class Vault(FailingStore):
    """A vault that is replicated: ``status`` says how far its objects are."""

    status = "COMPLETED"

    def head(self, key: str, version: str | None = None) -> ObjectInfo | None:
        found = super().head(key, version)
        return None if found is None else ObjectInfo(*list(vars(found).values())[:-1], self.status)


class World:
    """Two backups in a vault, its copy, and a catalogue."""

    def __init__(self, scratch: Path) -> None:
        self.vault, self.copy = Vault(), FailingStore()
        self.catalogue = Catalogue(MemoryDynamo(), "table")
        for number, backup_id in enumerate((OLD, NEW)):
            manifest, root = put_backup(self.vault, backup_id, [f"row {number}\n".encode()])
            self.catalogue.complete(manifest, root)
        self.services: Any = Services(
            store=self.vault,
            keys=SealKeys(lambda _: MemoryKms()),
            catalogue=self.catalogue,
            publisher=None,  # type: ignore[arg-type]  # nothing of these is used
            registry=Registrations(),  # type: ignore[arg-type]
            scratch=scratch,
            max_run_seconds=900,
            start_workers=None,  # type: ignore[arg-type]
            invoke_prove=None,  # type: ignore[arg-type]
            copy=self.copy,
        )

    def replicate(self) -> None:
        """Copy everything that isn't there."""
        for key in self.vault.keys(""):
            if self.copy.head(key) is None:
                self.copy.put(key, self.vault.read(key, limit=1 << 20))

    def check(self, seconds: float = 100, **event: Any) -> list[CopyResult]:
        """Check."""
        return run(parse(CopyRequest, {"action": "copy", **event}), self.services, seconds=seconds).copies

    def one(self) -> CopyResult:
        """Check the newest backup's copy."""
        (found,) = self.check(database=DATABASE, backup_id="latest")
        return found

    def evidence(self) -> list[str]:
        """What is kept of checks of the newest backup."""
        return self.vault.keys(LAYOUT.copies(NEW))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh world."""
    return World(tmp_path)


@pytest.mark.parametrize(
    ("status", "verdict", "code"),
    [
        ("PENDING", "pending", "copy-pending"),
        ("FAILED", "incomplete", "copy-failed"),
        ("COMPLETED", "incomplete", "copy-lost"),
        ("", "incomplete", "copy-never-replicated"),
    ],
)
def test_what_is_missing_is_told_by_its_replication_status(
    world: World, status: str, verdict: str, code: str
) -> None:
    world.replicate()
    (key,) = [key for key in world.copy.keys(LAYOUT.backup(NEW)) if "/parts/" in key]
    world.copy.lose(key)
    world.vault.status = status

    found = world.one()

    assert (found.verdict, [(reason.code, reason.object) for reason in found.reasons]) == (
        verdict,
        [(code, key)],
    )
    entry = world.catalogue.backup(DATABASE, NEW)
    assert entry is not None
    assert (entry.copy, entry.copy_summary) == (verdict, found.summary)


@pytest.mark.parametrize(
    ("asked", "verdict", "by"),
    [({}, "complete", "size"), ({"backup_id": "latest"}, "incomplete", "checksum")],
)
def test_a_schedule_compares_sizes_of_chunks_and_who_asks_gets_checksums(
    world: World, asked: dict[str, str], verdict: str, by: str
) -> None:
    world.replicate()
    manifest, _ = load_manifest(world.vault, DATABASE, NEW)
    (chunk,) = (record for record in read_part(world.vault, manifest.parts[0]) if isinstance(record, Chunk))
    world.copy.tamper(chunk.key, lambda body: body[:-1] + bytes([body[-1] ^ 1]))

    (found,) = (one for one in world.check(database=DATABASE, **asked) if one.backup_id == NEW)

    assert (found.backup_id, found.verdict, found.by) == (NEW, verdict, by)
    assert [reason.object for reason in found.reasons] == ([chunk.key] if by == "checksum" else [])


def test_another_manifest_under_the_same_id_is_no_copy(world: World) -> None:
    world.replicate()
    world.copy.tamper(LAYOUT.manifest(NEW), lambda body: body + b" ")
    assert [reason.code for reason in world.one().reasons] == ["copy-lost"]
    world.copy.mark_deleted(LAYOUT.manifest(NEW))
    assert world.one().verdict == "incomplete", "a manifest behind a marker is no backup to anybody"


def test_a_schedule_looks_at_what_is_not_complete_and_at_the_oldest_look(world: World) -> None:
    world.replicate()
    assert [found.backup_id for found in world.check()] == [OLD, NEW]
    assert [found.backup_id for found in world.check()] == [OLD]
    assert [found.backup_id for found in world.check()] == [NEW]
    world.copy.lose(LAYOUT.manifest(OLD))
    assert [found.backup_id for found in world.check()] == [OLD]
    assert [found.backup_id for found in world.check()] == [OLD, NEW]


def test_evidence_is_kept_when_something_changes_or_somebody_asks(world: World) -> None:
    world.replicate()
    world.check()
    assert len(world.evidence()) == 1
    world.check()
    assert len(world.evidence()) == 1
    world.copy.lose(LAYOUT.manifest(NEW))
    world.check()
    world.check()
    assert len(world.evidence()) == 2
    world.one()
    assert len(world.evidence()) == 3
    again = Catalogue(MemoryDynamo(), "table")
    rebuild(world.vault, again)
    (new, old) = again.backups(DATABASE)
    assert (new.copy, old.copy) == ("incomplete", "complete")


def test_a_catalogue_made_from_the_copy_takes_nothing_away(world: World) -> None:
    world.replicate()
    world.copy.lose(LAYOUT.manifest(NEW))

    rebuilt = rebuild(world.copy, world.catalogue, only_add=True)

    assert (rebuilt.completed, rebuilt.gone) == (1, 0)
    assert {entry.status for entry in world.catalogue.backups(DATABASE)} == {"completed"}


def test_a_check_that_fails_does_not_hide_the_others(world: World) -> None:
    world.replicate()
    world.copy.fail("head", REFUSED, containing=NEW)
    with pytest.raises(StoreUnavailableError):
        world.check()
    entry = world.catalogue.backup(DATABASE, OLD)
    assert entry is not None
    assert entry.copy == "complete"
    copied = read_standing(world.catalogue.backups(DATABASE), world.copy.bucket).copied
    assert copied == entry


def test_what_was_found_in_another_bucket_says_nothing_of_this_one(world: World) -> None:
    world.replicate()
    assert {found.verdict for found in world.check()} == {"complete"}
    before = world.copy.bucket
    world.copy = FailingStore()
    world.copy.bucket = "another"
    world.services = replace(world.services, copy=world.copy)
    backups = list(world.catalogue.backups(DATABASE))
    assert read_standing(backups, before).copied is not None
    assert read_standing(backups, world.copy.bucket).copied is None
    assert [found.backup_id for found in world.check()] == [OLD, NEW], "all of them, and at once"
    assert {entry.copy for entry in world.catalogue.backups(DATABASE)} == {"incomplete"}


def test_without_time_nothing_is_looked_at(world: World) -> None:
    assert world.check(seconds=0) == []


def test_a_check_needs_a_copy_and_a_database_that_the_vault_knows(world: World) -> None:
    with pytest.raises(UnknownDatabaseError):
        world.check(database="nobody")
    with pytest.raises(UnknownDatabaseError):
        reread(RecheckRequest(action="recheck", database="nobody"), world.services, seconds=60)
    registered = {"registry": Registrations(Registration(secret="-")), "publisher": Mock()}
    world.services = Services(**{**vars(world.services), **registered})
    assert world.check(database="new") == [], "it has no backup yet"
    request = RecheckRequest(action="recheck", database="new")
    assert reread(request, world.services, seconds=60).reports == []
    world.services = Services(**{**vars(world.services), "copy": None})
    with pytest.raises(NoCopyError):
        world.check()


def test_a_shallow_look_does_not_take_back_what_a_deeper_one_found(world: World) -> None:
    world.replicate()
    manifest, _ = load_manifest(world.vault, DATABASE, NEW)
    (chunk,) = (record for record in read_part(world.vault, manifest.parts[0]) if isinstance(record, Chunk))
    world.copy.tamper(chunk.key, lambda body: body[:-1] + bytes([body[-1] ^ 1]))
    assert world.one().verdict == "incomplete"

    (found,) = (one for one in world.check() if one.backup_id == NEW)

    assert (found.verdict, found.by) == ("incomplete", "size")
    assert [reason.code for reason in found.reasons] == ["copy-known-incomplete"]
    entry = world.catalogue.backup(DATABASE, NEW)
    assert entry is not None
    assert (entry.copy, entry.copy_by) == ("incomplete", "checksum")
    world.copy.tamper(chunk.key, lambda body: body[:-1] + bytes([body[-1] ^ 1]))
    assert world.one().verdict == "complete"


def test_what_was_looked_at_longest_ago_comes_first(world: World) -> None:
    """Else what always lacks something would keep a schedule from ever seeing the rest."""
    assert [found.backup_id for found in world.check()] == [OLD, NEW]
    world.one()
    assert [found.backup_id for found in world.check()] == [OLD, NEW]
    (found,) = world.check(database=DATABASE, backup_id=OLD)
    assert found.backup_id == OLD
    assert [found.backup_id for found in world.check()] == [NEW, OLD]
