"""Rows that share a chunk come out of it one by one as they went in, and only if all of it is right."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.backup.sharing import SharedText, Slice
from coffre.errors import ObjectCorruptError, ObjectMissingError
from coffre.vault.chunks import PlainChunk, open_chunk
from coffre.vault.known import KnownChunks
from coffre.vault.layout import Layout
from coffre.vault.locate import locate_chunk, read_chunk
from coffre.vault.parts import Chunk
from coffre.vault.shared import SHARED_BYTES, SharedChunks
from coffre.vault.uploader import ChunkUploader
from tests.fakes.store import MemoryStore

SCRATCH = Path("/nonexistent")  # nothing here is large
texts = st.lists(
    st.lists(st.binary(max_size=30), min_size=1, max_size=9).map(
        lambda rows: b"".join(row.replace(b"\n", b"n") + b"\n" for row in rows)
    ),
    min_size=1,
    max_size=12,
)


def stored(store: MemoryStore, given: list[bytes]) -> list[Chunk]:
    """The records of relations with these texts, which share a chunk."""
    shared = SharedText()
    slices = [
        shared.take(PlainChunk(memoryview(text), len(text), text.count(b"\n"), SCRATCH)) for text in given
    ]
    with closing(ChunkUploader(store, Layout("shop"), KnownChunks(None))) as uploader:
        shared.store(uploader, SCRATCH)
        return [record(one) for one in slices]


def record(one: Slice) -> Chunk:
    assert one.upload.stored is not None
    return one.record(one.upload.stored.result().chunk)


@given(given=texts)
@settings(max_examples=50, deadline=None)
def test_every_way_to_read_a_slice_gives_its_rows_and_no_others(given: list[bytes]) -> None:
    store = MemoryStore()
    chunks = stored(store, given)
    assert len({chunk.key for chunk in chunks}) == len(list(store.objects("shop/chunks/"))) == 1
    assert [chunk.rows for chunk in chunks] == [text.count(b"\n") for text in given]
    shared = SharedChunks(store)
    for chunk, text in zip(chunks, given, strict=True):
        assert chunk.bytes == len(text)
        assert read_chunk(store, chunk) == text
        assert b"".join(open_chunk(chunk, locate_chunk(store, chunk)[1])) == text
        if shared.can_hold(chunk):
            assert shared.read(chunk) == (None, text)


def test_who_has_a_chunk_alone_has_no_slice() -> None:
    (chunk,) = stored(MemoryStore(), [b"1\n2\n"])
    assert (chunk.at, chunk.whole, chunk.rows, chunk.bytes) == (0, 0, 2, 4)
    assert not SharedChunks.can_hold(chunk)


def test_a_chunk_is_fetched_once_for_slices_that_follow_each_other() -> None:
    class Counted(MemoryStore):
        gets = 0

        def get(self, key: str, version: str | None = None):  # type: ignore[no-untyped-def]
            self.gets += 1
            return super().get(key, version)

    store = Counted()
    chunks = stored(store, [b"%d\n" % number for number in range(40)])
    shared = SharedChunks(store)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(shared.read, chunks))
    assert found == [(None, b"%d\n" % number) for number in range(40)]
    assert store.gets == 1


@pytest.mark.parametrize("whole", [-1, 1])
def test_a_slice_of_a_chunk_that_is_not_as_long_as_recorded_is_refused(whole: int) -> None:
    store = MemoryStore()
    _, chunk, _ = stored(store, [b"1\n", b"2\n", b"3\n"])
    wrong = replace(chunk, whole=chunk.whole + whole)
    with pytest.raises(ObjectCorruptError):
        SharedChunks(store).read(wrong)
    with pytest.raises(ObjectCorruptError):
        read_chunk(store, wrong)
    with pytest.raises(ObjectCorruptError):
        list(open_chunk(wrong, locate_chunk(store, chunk)[1]))


def test_what_is_held_serves_no_record_of_another_object() -> None:
    """A verdict never rests on an object that wasn't read."""
    store = MemoryStore()
    chunk, _ = stored(store, [b"1\n", b"2\n"])
    shared = SharedChunks(store)
    assert shared.read(chunk)[1] == b"1\n"
    with pytest.raises(ObjectMissingError):
        shared.read(replace(chunk, key=chunk.key + "0"))
    with pytest.raises(ObjectCorruptError):
        shared.read(replace(chunk, encoding="zstd+aesgcm"))


def test_damage_of_a_chunk_is_damage_of_each_of_its_slices_and_of_no_others() -> None:
    store = MemoryStore()
    good, damaged = stored(store, [b"1\n", b"2\n"]), stored(store, [b"3\n", b"4\n"])
    store.tamper(damaged[0].key, lambda body: body[:-1] + bytes([body[-1] ^ 1]))
    shared = SharedChunks(store)
    assert [shared.read(chunk)[1] for chunk in good] == [b"1\n", b"2\n"]
    for chunk in damaged:
        with pytest.raises(ObjectCorruptError):
            shared.read(chunk)
    assert [shared.read(chunk)[1] for chunk in good] == [b"1\n", b"2\n"]


def test_a_slice_of_more_than_is_held_is_streamed() -> None:
    assert not SharedChunks.can_hold(Chunk("00" * 32, "k", "zstd", 1, 2, 3, "11" * 32, 1, SHARED_BYTES + 1))
