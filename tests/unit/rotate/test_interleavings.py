"""Backups, marks and purges in any order: no committed backup ever loses a chunk, and no waste stays."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from coffre.errors import ObjectExistsError, ObjectMissingError, UnknownBackupError
from coffre.ids import backup_id
from coffre.rotate.inventory import MARGIN, Horizon, Inventory, take_inventory
from coffre.rotate.sweep import Sweep
from coffre.vault.layout import Layout
from coffre.vault.locate import fetch
from coffre.vault.parts import Chunk
from coffre.vault.reader import list_backups, load_manifest, read_part
from coffre.vault.refs import read_ids
from tests.fakes.store import MemoryStore
from tests.fakes.vault import DATABASE, commit, make_chunk, prepare, put_object

MAX_RUN = timedelta(hours=6)
LAYOUT = Layout(DATABASE)
TEXTS = [f"row {number}\n".encode() for number in range(2)]


@dataclass
class Writer:
    """A run that may be frozen for as long as a run may take."""

    backup: str
    started: float
    chunks: dict[str, Chunk] = field(default_factory=dict)


@dataclass
class Reader:
    """A restore that read the manifest once and goes on for as long as a run may take."""

    chunks: list[Chunk]
    started: float


class Interleavings(RuleBasedStateMachine):
    """The writer's steps are those of `coffre.vault.uploader` and `coffre.backup.commit`."""

    writers = Bundle("writers")
    sweeps = Bundle("sweeps")

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.hours = 0.0
        self.number = 0
        self.readers: list[Reader] = []

    @rule(hours=st.sampled_from([1.5, 4.0, 7.5]))
    def time_passes(self, hours: float) -> None:
        self.hours += hours
        self.store.advance(hours=hours)
        self.readers = [r for r in self.readers if self.hours - r.started <= MAX_RUN.total_seconds() / 3600]

    @rule(target=writers, texts=st.sampled_from([TEXTS, TEXTS[:1]]))
    def a_run_starts_and_captures(self, texts: list[bytes]) -> Writer:
        self.number += 1
        when = self.store.now + timedelta(seconds=self.number)
        writer = Writer(backup_id(DATABASE, "hourly", when), self.hours)
        self._capture(writer, texts)
        return writer

    @rule(writer=writers)
    def it_captures_more(self, writer: Writer) -> None:
        self._capture(writer, TEXTS)

    @rule(writer=consumes(writers))
    def it_commits_unless_it_is_late(self, writer: Writer) -> None:
        self._commit(writer)

    @rule(writer=writers)
    def another_delivery_of_its_event_commits_first(self, writer: Writer) -> None:
        """B10: whoever comes second finds the manifest, and its files are orphans."""
        self._commit(writer)

    @rule(writer=consumes(writers))
    def it_crashes_after_its_files(self, writer: Writer) -> None:
        prepare(self.store, writer.backup, list(writer.chunks.values()))

    @rule(data=st.data())
    def a_restore_starts(self, data: st.DataObject) -> None:
        backups = list(list_backups(self.store, DATABASE))
        if backups:
            chosen = data.draw(st.sampled_from(backups))
            self.readers.append(Reader(self._chunks(chosen), self.hours))

    @rule(data=st.data())
    def a_manifest_is_deleted(self, data: st.DataObject) -> None:
        backups = list(list_backups(self.store, DATABASE))
        if backups:
            self.store.mark_deleted(LAYOUT.manifest(data.draw(st.sampled_from(backups))))

    @rule(target=sweeps)
    def a_sweep_takes_its_inventory(self) -> tuple[Horizon, Inventory]:
        horizon = Horizon.at(self.store.now, MAX_RUN, None)
        return horizon, take_inventory(self.store, LAYOUT, horizon)

    @rule(taken=sweeps)
    def a_sweep_acts_on_an_inventory_perhaps_long_after(self, taken: tuple[Horizon, Inventory]) -> None:
        with suppress(UnknownBackupError, ObjectMissingError):
            self._sweep(*taken)

    @rule()
    def a_rotation_sweeps(self) -> None:
        self._sweep(*self.a_sweep_now())

    def a_sweep_now(self) -> tuple[Horizon, Inventory]:
        horizon = Horizon.at(self.store.now, MAX_RUN, None)
        return horizon, take_inventory(self.store, LAYOUT, horizon)

    @invariant()
    def every_backup_can_be_read_whole(self) -> None:
        for backup in list_backups(self.store, DATABASE):
            self._read(self._chunks(backup))

    @invariant()
    def every_restore_that_began_can_go_on(self) -> None:
        for reader in self.readers:
            self._read(reader.chunks)

    def teardown(self) -> None:
        """After enough rotations nothing is left that no backup names."""
        for _ in range(4):
            self.store.advance(seconds=(MAX_RUN + MARGIN).total_seconds() + 1)
            self._sweep(*self.a_sweep_now())
        needed, files = set[str](), set[str]()
        for backup in list_backups(self.store, DATABASE):
            manifest, _ = load_manifest(self.store, DATABASE, backup)
            needed |= {LAYOUT.chunk(chunk_id.hex()) for chunk_id in read_ids(self.store, manifest)}
            files |= {LAYOUT.manifest(backup)}
            files |= {file.key for file in (*manifest.files, *manifest.parts, *manifest.refs)}
        assert {version.key for version in self.store.versions(LAYOUT.chunks)} == needed
        assert set(self.store.keys(LAYOUT.chunks)) == needed
        assert {version.key for version in self.store.versions(LAYOUT.backups)} == files

    def _sweep(self, horizon: Horizon, inventory: Inventory) -> None:
        sweep = Sweep(self.store, LAYOUT, inventory, horizon, lambda: None)
        sweep.chunks()
        sweep.files()

    def _capture(self, writer: Writer, texts: list[bytes]) -> None:
        """Use what is visible, upload what isn't."""
        for text in () if self._is_late(writer) else texts:
            chunk, body = make_chunk(LAYOUT, text)
            if self.store.head(chunk.key) is None:
                put_object(self.store, chunk.key, body)
            writer.chunks[chunk.id] = chunk

    def _commit(self, writer: Writer) -> None:
        if self._is_late(writer):
            return
        manifest = prepare(self.store, writer.backup, list(writer.chunks.values()))
        with suppress(ObjectExistsError):
            commit(self.store, manifest)

    def _is_late(self, writer: Writer) -> bool:
        return self.hours - writer.started > MAX_RUN.total_seconds() / 3600

    def _chunks(self, backup: str) -> list[Chunk]:
        manifest, _ = load_manifest(self.store, DATABASE, backup)
        return [r for part in manifest.parts for r in read_part(self.store, part) if isinstance(r, Chunk)]

    def _read(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            fetch(self.store, chunk.key, size=chunk.stored, sha256=chunk.sha256).close()


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=200, stateful_step_count=50)
