"""Joined parts hold what the parts held, in the same order; too many of them fit into a manifest then."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.backup import joining
from coffre.backup.joining import MOST_PARTS, join_parts
from coffre.vault.files import put_file
from coffre.vault.manifest import MAX_BYTES, PartFile, SealContext, SealKey
from coffre.vault.parts import Chunk, End, PartWriter, Record, Relation
from coffre.vault.reader import read_part
from coffre.vault.sealing import UNSEALED, Seal, Sealed
from tests.fakes.kms import KEY
from tests.fakes.store import MemoryStore

PREFIX = "shop/backups/20261120T030000Z-daily-1f09ab/abcdef012345/"
CONTEXT = SealContext(vault="vault", database="shop", seal=f"{1:032x}", created="2026-11-20T03:00:00.000000Z")
SEALED = Sealed(SealKey(kms_key=KEY, context=CONTEXT, wrapped="AAAA"), b"k" * 32)


def section(number: int, chunks: int) -> list[Record]:
    """A table's records."""
    found: list[Record] = [Relation(number, "table", "public", f"té {number}", "me")]
    found += [Chunk(f"{n:064x}", f"chunks/{n}", "zstd", 1, 2, 3, f"{n + 1:064x}") for n in range(chunks)]
    return [*found, End(number, chunks, 2 * chunks, f"{number:032x}")]


def put_parts(store: MemoryStore, folder: Path, sections: list[int]) -> list[PartFile]:
    """A part for each section, as workers write them."""
    parts = []
    for number, chunks in enumerate(sections):
        path = folder / "part"
        with path.open("wb") as file:
            writer = PartWriter(file)
            for record in section(number, chunks):
                writer.write(record)
            writer.close()
        stored = put_file(store, path, f"{PREFIX}parts/{number:06d}-{{sha256}}.ndjson.zst")
        counts = {"bytes": writer.bytes, "relations": writer.relations, "chunks": writer.chunks}
        parts.append(PartFile(**asdict(stored), **counts))
    return parts


@given(
    sections=st.lists(st.integers(0, 5), max_size=12),
    most=st.integers(1, 5),
    seal=st.sampled_from([UNSEALED, SEALED]),
)
@settings(max_examples=25)
def test_no_record_is_lost_changed_or_moved(sections: list[int], most: int, seal: Seal) -> None:
    store = MemoryStore().with_seal(seal)
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "MOST_PARTS", most)
        parts = put_parts(store, Path(name), sections)
        joined = join_parts(store, PREFIX, parts, Path(name))
    assert len(joined) <= most
    assert joined == parts or len(parts) > most
    held = [record for part in joined for record in read_part(store, part)]
    assert held == [record for number, chunks in enumerate(sections) for record in section(number, chunks)]


def test_a_commit_that_is_done_again_joins_into_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "MOST_PARTS", 2)
    store = MemoryStore()
    parts = put_parts(store, tmp_path, [1, 2, 3])
    assert join_parts(store, PREFIX, parts, tmp_path) == join_parts(store, PREFIX, parts, tmp_path)


def test_a_manifest_has_room_for_as_many_parts_as_there_may_be() -> None:
    sha256 = "a" * 64
    key = f"{'d' * 48}/{PREFIX.partition('/')[2]}parts/joined-000001-{sha256}.ndjson.zst"
    most = PartFile(key=key, size=10**12, sha256=sha256, bytes=10**12, relations=10**6, chunks=10**6)
    assert len(most.model_dump_json(indent=1)) * (MOST_PARTS + 1) < 0.85 * MAX_BYTES
