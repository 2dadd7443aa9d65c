"""Every chunk is read again within the period, in slices, and what rotted is found."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coffre.catalogue.index import Catalogue
from coffre.results import Finding, RecheckReport
from coffre.vault.layout import Layout
from coffre.vault.manifest import Manifest
from coffre.verify.recheck import Services, recheck
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.store import MemoryStore
from tests.fakes.vault import DATABASE, put_backup

OLD, NEW = "20261119T030000Z-daily-aaaaaa", "20261120T030000Z-daily-bbbbbb"
LAYOUT = Layout(DATABASE)
TEXTS = [f"row {number}\n".encode() for number in range(400)]


class World:
    """A vault with one backup of 400 chunks, its catalogue, and days that pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = MemoryStore()
        self.today = datetime(2026, 11, 20, 9, tzinfo=UTC)
        self.catalogue = Catalogue(MemoryDynamo(), "table")
        self.accused: list[tuple[str, list[Finding]]] = []
        self.read: list[str] = []
        self.manifest, self.root = put_backup(self.store, NEW, TEXTS)
        get = self.store.get

        def counted(key: str, version: str | None = None) -> Any:
            if key.startswith(LAYOUT.chunks):
                self.read.append(key)
            return get(key, version)

        monkeypatch.setattr(self.store, "get", counted)

    def run(self, days: int = 30, ends: float | None = None) -> RecheckReport:
        """One run."""

        def accuse(manifest: Manifest, digest: str, damage: list[Finding]) -> None:
            del digest
            self.accused.append((manifest.id, damage))

        services = Services(self.store, self.catalogue, accuse, lambda: self.today)
        return recheck(DATABASE, services, days=days, ends=time.monotonic() + 60 if ends is None else ends)

    @property
    def keys(self) -> list[str]:
        """The keys of all chunks."""
        return [item.key for item in self.store.objects(LAYOUT.chunks)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A fresh world."""
    return World(monkeypatch)


@pytest.mark.parametrize("days", [1, 7, 30, 365])
def test_a_round_reads_every_chunk_once_within_its_days(world: World, days: int) -> None:
    rounds = set()
    for _ in range(days):
        rounds.add(world.run(days).round_started)
        world.today += timedelta(days=1)
    assert sorted(world.read) == sorted(world.keys)
    assert len(rounds) == 1
    assert world.run(days).round_started not in rounds, "the next round begins when the period is over"


def test_a_day_reads_no_more_than_its_share(world: World) -> None:
    report = world.run(days=32)
    assert (report.slices_done, report.slices_due) == (8, 8)
    assert set(world.read) == {key for key in world.keys if int(key.split("/")[2], 16) < 8}
    world.run(days=32)
    assert len(world.read) == report.chunks, "a second run on the same day finds nothing due"


def test_days_that_were_missed_are_made_up_for(world: World) -> None:
    world.run(days=32)
    world.today += timedelta(days=31)
    assert world.run(days=32).slices_done == 256
    assert sorted(world.read) == sorted(world.keys)


def test_a_run_without_time_goes_on_where_it_stopped(world: World) -> None:
    assert world.run(days=1, ends=time.monotonic() - 1).slices_done < 256
    assert world.run(days=1).slices_done == 256
    assert sorted(world.read) == sorted(world.keys)


@pytest.mark.parametrize("damage", ["flipped", "gone", "another's", "cut", "longer"])
def test_damage_is_found_and_accuses_every_backup_that_needs_the_chunk(world: World, damage: str) -> None:
    put_backup(world.store, OLD, TEXTS[:1])
    shared, own = (LAYOUT.chunk(hashlib.sha256(text).hexdigest()) for text in TEXTS[:2])
    another = world.store.get(LAYOUT.chunk(hashlib.sha256(TEXTS[2]).hexdigest())).read()
    changes = {
        "flipped": _flip,
        "another's": lambda _: another,
        "cut": lambda body: body[:-3],
        "longer": lambda body: body + b"\0",
    }
    for key in (shared, own):
        if damage == "gone":
            world.store.lose(key)
        else:
            world.store.tamper(key, changes[damage])
    report = world.run(days=1)
    assert sorted(finding.object for finding in report.findings) == sorted((shared, own))
    accused = {(backup, finding.object) for backup, found in world.accused for finding in found}
    assert accused == {(OLD, shared), (NEW, shared), (NEW, own)}
    assert report.slices_done == 256, "the rest is read all the same"


def test_a_right_version_behind_a_wrong_one_is_no_damage(world: World) -> None:
    world.store.put(world.keys[0], b"overwritten")
    world.store.mark_deleted(world.keys[1])
    assert world.run(days=1).findings == []
    assert world.accused == []


def test_chunks_that_no_backup_names_are_not_read(world: World) -> None:
    world.store.put(f"{LAYOUT.chunks}00/{'0' * 64}", b"left by a run that failed")
    assert world.run(days=1).findings == []
    assert all("0" * 64 not in key for key in world.read)


def _flip(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
