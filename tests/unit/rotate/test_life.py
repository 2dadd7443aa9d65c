"""The life of a vault: backups, verifications, holds, restores, damage, and rotations that are cut short.

`test_interleavings.py` draws histories of sweeps alone.  Here a rotation is a whole one, what a backup does
to the vault is done by its own code, and at any of a rotation's calls something else may happen.  A history
follows from its number alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coffre.backup.commit import commit
from coffre.backup.feed import write_known_chunks
from coffre.catalogue.index import Catalogue
from coffre.catalogue.rebuild import rebuild
from coffre.databases.registration import Retention
from coffre.errors import CoffreError, ObjectCorruptError, ObjectExistsError, StoreUnavailableError
from coffre.ids import backup_id, backup_time, new_attempt
from coffre.results import Finding
from coffre.rotate.inventory import MARGIN, Horizon
from coffre.rotate.run import run
from coffre.vault.chunks import PlainChunk
from coffre.vault.evidence import newest_evidence
from coffre.vault.known import KnownChunks
from coffre.vault.locate import is_sound_chunk, read_chunk
from coffre.vault.manifest import Manifest
from coffre.vault.notes import Chunks, write_note
from coffre.vault.objects import Version
from coffre.vault.parts import Chunk
from coffre.vault.reader import list_backups, load_manifest
from coffre.vault.uploader import ChunkUploader
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.store import FailingStore
from tests.fakes.vault import DATABASE, make_chunk, prepare, put_evidence
from tests.unit.rotate.conftest import LAYOUT, World

TEXTS = {make_chunk(LAYOUT, text)[0].id: text for text in (b"row 1\n", b"row 2\n", b"row 3\n", b"row 4\n")}
SKEW = timedelta(minutes=25)
"""A function's clock and the store's are less than the sweep's margin apart."""

POLICIES = [
    Retention(hourly=0, daily=0, weekly=0, monthly=0, keep_last=1),
    Retention(hourly=2, daily=2, weekly=0, monthly=0, keep_last=1, cap=2),
    Retention(hourly=0, daily="2d", weekly=1, monthly=0, keep_last=2),
]
OPERATIONS = ("put_new", "get", "head", "objects", "versions", "mark_deleted", "delete_version")
HISTORIES, STEPS = 60, 120


class BusyStore(FailingStore):
    """Something may happen just before a call of a number.

    Only calls that come in one order count: rotation reads references, and runs store chunks, by threads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.happens: Callable[[], object] | None = None
        self.countdown = 0

    def versions(self, prefix: str) -> Iterator[Version]:
        """A listing holds what there was when it was asked for."""
        return iter(list(super().versions(prefix)))

    def _meet(self, operation: str, key: str) -> None:
        if self.happens is not None and operation not in ("get", "head"):
            self.countdown -= 1
            if self.countdown < 0:
                happens, self.happens = self.happens, None
                happens()
        super()._meet(operation, key)


@dataclass
class Run:
    """A backup, or a restore, that may be frozen for as long as a run may take."""

    name: str
    started: datetime
    longest: timedelta
    attempt: str = field(default_factory=new_attempt)
    chunks: dict[str, Chunk] = field(default_factory=dict)
    uploader: ChunkUploader | None = None


class Life:
    """A vault, everything that goes on there, and what is promised of it.

    In every other history no run is recorded: that saves work, and safety mustn't depend on it, as long as no
    deployment gives runs less time.
    """

    def __init__(self, number: int, scratch: Path) -> None:
        self.random = random.Random(number)  # noqa: S311 - it draws a history, no secrets
        self.policies = POLICIES
        self.records = number % 2 == 0
        self.scratch = scratch
        self.world = World()
        self.store = BusyStore()
        self.world.store = self.store
        self.longest = timedelta(hours=6)
        self.skew = timedelta()
        self.serve()
        self.count = 0
        self.writers: list[Run] = []
        self.readers: list[Run] = []
        self.held: dict[str, list[Chunk]] = {}
        self.broken: set[str] = set()
        self.was_damaged = False

    def serve(self) -> None:
        """Deploy: with the present catalogue and limit."""
        self.world.services = replace(
            self.world.services,
            store=self.store,
            catalogue=self.world.catalogue,
            max_run_seconds=int(self.longest.total_seconds()),
            now=lambda: self.store.now + self.skew,
        )

    def step(self) -> None:
        """Something happens; then everything is as promised."""
        steps: dict[Callable[[], object], int] = {
            self.time_passes: 12,
            self.start: 6,
            self.capture: 4,
            self.commit: 8,
            self.crash: 1,
            self.verify: 5,
            self.restore: 3,
            self.hold: 1,
            self.release: 1,
            self.rot: 1 if self.was_damaged or self.random.random() < 0.1 else 0,
            self.rotate_well: 6,
            self.rotate_and_die: 3,
            self.rotate_meanwhile: 8,
            self.change_clocks: 1,
            self.change_limit: 1 if self.records else 0,
            self.lose_catalogue: 1,
        }
        self.random.choices(list(steps), list(steps.values()))[0]()
        self.check()

    # Time, clocks, deployments

    def time_passes(self) -> None:
        self.store.advance(hours=self.random.choice([0.1, 1.5, 3.0, 7.5, 26.0]))
        self.readers = [one for one in self.readers if not self.is_late(one)]

    def change_clocks(self) -> None:
        self.skew = self.random.choice([-SKEW, timedelta(), SKEW])

    def change_limit(self) -> None:
        self.longest = timedelta(hours=self.random.choice([2, 6]))
        self.serve()

    def lose_catalogue(self) -> None:
        """It is made again.  Runs that a deployment gave less time than they have are known to it alone."""
        if all(one.longest <= self.longest for one in (*self.writers, *self.readers)):
            self.world.catalogue = Catalogue(MemoryDynamo(), "table", lambda: self.store.now)
            rebuild(self.store, self.world.catalogue)
            self.serve()

    # Backups

    def start(self) -> None:
        self.count += 1
        when = self.store.now + timedelta(seconds=self.count)
        one = Run(backup_id(DATABASE, "hourly", when), self.store.now, self.longest)
        self.record("backup", one, None)
        known = self.scratch / f"known-{self.count}"
        write_known_chunks(self.store, DATABASE, known)
        one.uploader = ChunkUploader(self.store, LAYOUT, KnownChunks(known if known.exists() else None))
        self.writers.append(one)
        self.capture_into(one)

    def capture(self) -> None:
        one = self.pick(self.writers)
        if one is not None and not self.is_late(one):
            self.capture_into(one)

    def capture_into(self, one: Run) -> None:
        assert one.uploader is not None
        for text in self.random.sample(list(TEXTS.values()), self.random.choice([1, 1, 2])):
            plain = PlainChunk(memoryview(text), len(text), 1, self.scratch)
            name = one.uploader.chunk_id(plain)
            try:
                one.chunks[name] = one.uploader.submit(plain).result().chunk
            except ObjectCorruptError:  # see `coffre.backup.capture`
                note = Chunks(chunks=[name])
                with suppress(ObjectExistsError):
                    write_note(self.store, LAYOUT, one.name, "damage", note, self.world.services.now())
                self.end(one)
                return

    def commit(self) -> None:
        one = self.pick(self.writers)
        if one is None:
            return
        if not self.is_late(one):
            manifest = prepare(self.store, one.name, list(one.chunks.values()))
            digest = commit(self.store, manifest, LAYOUT.manifest(one.name))
            self.world.catalogue.complete(manifest, digest)
        self.end(one)

    def crash(self) -> None:
        one = self.pick(self.writers)
        if one is not None:
            prepare(self.store, one.name, list(one.chunks.values()))
            self.forget(one)

    def end(self, one: Run) -> None:
        self.world.catalogue.end_run(DATABASE, one.attempt)
        self.forget(one)

    def forget(self, one: Run) -> None:
        assert one.uploader is not None
        one.uploader.close()
        self.writers.remove(one)

    # What is done with them

    def verify(self) -> None:
        manifest = self.pick_backup()
        if manifest is None:
            return
        _, root = load_manifest(self.store, DATABASE, manifest.id)
        damage = [chunk.key for chunk in self.world.chunks(manifest) if not self.is_right(chunk)]
        with suppress(ObjectExistsError):  # by another one at this moment
            if not damage:
                self.world.evidence(manifest, "proven")
                return
            found = put_evidence(self.store, manifest, root, "failed", self.store.now)
            reasons = [
                Finding(level="refuse", code="object-corrupt", object=key, message="damaged")
                for key in damage
            ]
            found = found.model_copy(update={"reasons": reasons})
            self.store.put(found.evidence, found.model_dump_json().encode())
            self.world.catalogue.verdict(found)

    def restore(self) -> None:
        manifest = self.pick_backup()
        if manifest is not None:
            one = Run(manifest.id, self.store.now, self.longest)
            self.record("restore", one, manifest.id)
            one.chunks = {chunk.id: chunk for chunk in self.world.chunks(manifest)}
            self.readers.append(one)

    def hold(self) -> None:
        manifest = self.pick_backup()
        if manifest is not None:
            chunks = self.world.chunks(manifest)
            with suppress(CoffreError):  # a rotation deletes it at this moment, and it says so
                assert self.world.hold("hold", manifest).holds
                self.held[manifest.id] = chunks

    def release(self) -> None:
        manifest = self.pick_backup()
        if manifest is not None:
            self.held.pop(manifest.id, None)
            assert not self.world.hold("release", manifest).holds

    def rot(self) -> None:
        name = self.random.choice(list(TEXTS))
        if self.store.head(LAYOUT.chunk(name)) is not None:
            self.store.tamper(LAYOUT.chunk(name), lambda body: body[:-3] + bytes([body[-3] ^ 1]) + body[-2:])
            self.was_damaged = True
            if not self.is_sound(name):
                self.broken.add(name)

    # Rotations

    def rotate(self) -> dict[str, str]:
        policy = self.random.choice(self.policies)
        return run({DATABASE: policy}, self.world.services, dry_run=False, seconds=600).failed

    def rotate_well(self) -> None:
        proven = self.newest_proven()
        assert self.rotate() == {}
        live = set(list_backups(self.store, DATABASE))
        assert proven is None or proven in live or self.broken, "the last proven backup was deleted"
        assert self.held.keys() <= live, "a backup was deleted that is held"

    def rotate_and_die(self) -> None:
        def die() -> None:
            for operation in OPERATIONS:
                self.store.fail(operation, StoreUnavailableError("killed"))

        self.meanwhile(die)

    def rotate_meanwhile(self) -> None:
        others = [
            self.rotate,
            self.start,
            self.capture,
            self.commit,
            self.restore,
            self.verify,
            self.hold,
            self.hold,
        ]
        self.meanwhile(self.random.choice(others))

    def meanwhile(self, step: Callable[[], object]) -> None:
        self.store.happens, self.store.countdown = step, self.random.randrange(25)
        self.rotate()
        self.store.happens = None
        self.store.heal()

    # What is promised

    def check(self) -> None:
        """What exists, what is held and what is being restored can be read byte for byte."""
        self.broken = {name for name in self.broken if not self.is_sound(name)}
        needed = {
            name: self.world.chunks(load_manifest(self.store, DATABASE, name)[0])
            for name in list_backups(self.store, DATABASE)
        }
        readers = [(one.name, list(one.chunks.values())) for one in self.readers]
        for name, chunks in (*needed.items(), *self.held.items(), *readers):
            for chunk in chunks:
                if chunk.id not in self.broken:
                    assert self.is_right(chunk), f"{name} lost a chunk"

    def finish(self) -> None:
        """After enough rotations nothing is left that nobody needs."""
        for one in list(self.writers):
            self.forget(one)
        self.readers, self.policies = [], POLICIES[:1]
        for _ in range(4):
            self.store.advance(hours=16)
            self.rotate_well()
            self.check()
        if not self.was_damaged:
            chunks = {
                chunk.key
                for name in list_backups(self.store, DATABASE)
                for chunk in self.world.chunks(load_manifest(self.store, DATABASE, name)[0])
            }
            assert {version.key for version in self.store.versions(LAYOUT.chunks)} == chunks

    # What the model knows

    def record(self, kind: Any, one: Run, reads: str | None) -> None:
        if self.records:
            deadline = one.started + one.longest
            self.world.catalogue.start_run(DATABASE, kind, one.attempt, deadline, reads)

    def is_late(self, one: Run) -> bool:
        return self.store.now - one.started > one.longest

    def pick(self, runs: list[Run]) -> Run | None:
        return self.random.choice(runs) if runs else None

    def pick_backup(self) -> Manifest | None:
        names = list(list_backups(self.store, DATABASE))
        return load_manifest(self.store, DATABASE, self.random.choice(names))[0] if names else None

    def is_right(self, chunk: Chunk) -> bool:
        try:
            return read_chunk(self.store, chunk) == TEXTS[chunk.id]
        except CoffreError:
            return False

    def is_sound(self, name: str) -> bool:
        """Whether any version of a chunk is right."""
        key = LAYOUT.chunk(name)
        bodies = [version.version for version in self.store.versions(key) if not version.marker]
        return any(is_sound_chunk(self.store, key, version) for version in bodies)

    def newest_proven(self) -> str | None:
        now, found = self.world.services.now(), list[str]()
        for name in list_backups(self.store, DATABASE):
            _, root = load_manifest(self.store, DATABASE, name)
            evidence = newest_evidence(self.store, DATABASE, name, root)
            if backup_time(name) <= now and evidence is not None and evidence.verdict == "proven":
                found.append(name)
        return max(found, default=None)


def live(number: int, scratch: Path) -> None:
    """One history."""
    life = Life(number, scratch)
    for _ in range(STEPS):
        life.step()
    life.finish()


@pytest.mark.parametrize("first", range(0, HISTORIES, 10))
def test_whatever_happens_no_backup_that_is_kept_loses_a_row(first: int, tmp_path: Path) -> None:
    for number in range(first, first + 10):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            live(number, folder)
        except BaseException as error:
            error.add_note(f"in history {number}")
            raise


def test_a_rotation_that_purged_too_early_would_be_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The histories find the fault that the protocol exists for."""

    def hasty(moment: datetime, max_run: timedelta, oldest: datetime | None) -> Horizon:
        del oldest
        return Horizon(moment, moment - max_run, moment + MARGIN)

    monkeypatch.setattr(Horizon, "at", hasty)
    with pytest.raises(AssertionError, match="lost a chunk"):
        test_whatever_happens_no_backup_that_is_kept_loses_a_row(0, tmp_path)
