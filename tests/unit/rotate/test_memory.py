"""A sweep holds no more of a large vault than of a small one."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import pytest

from coffre.ids import backup_id
from coffre.rotate import sweep as sweeping
from coffre.rotate.inventory import Horizon, take_inventory
from coffre.rotate.sweep import Sweep
from coffre.vault.layout import Layout
from coffre.vault.manifest import Totals
from coffre.vault.objects import Version
from coffre.vault.refs import write_refs
from tests.fakes.store import MemoryStore
from tests.fakes.vault import DATABASE, commit, make_manifest

LAYOUT = Layout(DATABASE)
START = datetime(2026, 11, 1, tzinfo=UTC)
WINDOW = 512


class Many(MemoryStore):
    """A vault whose chunks are only listed: they take no memory."""

    def __init__(self, chunks: int) -> None:
        super().__init__(now=START)
        self._chunks = chunks

    def ids(self) -> Iterator[bytes]:
        """Ascending, spread over all first bytes."""
        for number in range(self._chunks):
            start = number * (1 << 32) // self._chunks
            yield start.to_bytes(4, "big") + hashlib.sha256(str(number).encode()).digest()[:28]

    def versions(self, prefix: str) -> Iterator[Version]:
        if prefix != LAYOUT.chunks:
            yield from super().versions(prefix)
            return
        for identifier in self.ids():
            yield Version(LAYOUT.chunk(identifier.hex()), "v1", True, False, 1000, START)

    def get(self, key: str, version: str | None = None) -> BinaryIO:
        return super().get(key, version)


def vault(chunks: int, backups: int) -> Many:
    """Backups that name every second chunk."""
    store = Many(chunks)
    for number in range(backups):
        name = backup_id(DATABASE, "hourly", START + timedelta(hours=number))
        prefix = LAYOUT.attempt(name, "0123456789ab")
        refs = write_refs(store, prefix, (i for n, i in enumerate(store.ids()) if n % 2))
        totals = Totals(
            relations=0, sequences=0, rows=0, bytes=0, chunks=0, stored_bytes=0, new_chunks=0, new_bytes=0,
            large_objects=0,
        )  # fmt: skip
        commit(
            store,
            make_manifest(
                name, attempt="0123456789ab", database=DATABASE, parts=[], refs=refs, totals=totals
            ),
        )
    store.now = START + timedelta(days=400)
    return store


def peak(store: Many, expected: int) -> int:
    """Bytes that a sweep holds at most."""
    horizon = Horizon.at(store.now, timedelta(hours=6), None)
    tracemalloc.start()
    try:
        inventory = take_inventory(store, LAYOUT, horizon)
        counts = Sweep(store, LAYOUT, inventory, horizon, lambda: None, dry_run=True).chunks()
        assert counts.marked == expected
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_a_sweep_holds_does_not_grow_with_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "WINDOW", WINDOW)
    small, large = peak(vault(2_000, 1), 1_000), peak(vault(16_000, 1), 8_000)
    # Eight times as many ids lie in a file of references, which is read whole: 32 bytes each, and never more
    # than `MAX_IDS` of them.
    assert large < small + 8_000 * 150


def test_what_a_sweep_holds_hardly_grows_with_the_backups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "WINDOW", WINDOW)
    few, many = peak(vault(64, 4), 32), peak(vault(64, 500), 32)
    assert many - few < 500 * 3_500, "name, version and files of references of each, and a test's listing"
