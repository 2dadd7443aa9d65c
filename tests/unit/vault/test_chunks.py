"""Chunks hold exactly the rows, are cut where the content says so, and never pass when they are altered."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from coffre.errors import ObjectCorruptError
from coffre.vault.chunks import SPOOL_BYTES, ChunkCutter, PlainChunk, open_chunk, unpack_chunk
from coffre.vault.digest import Digest
from coffre.vault.parts import Chunk
from coffre.vault.scan import MIB, ChunkSizes

pytestmark = pytest.mark.usefixtures("twin")

SIZES = ChunkSizes(minimum=256, target=1024, maximum=4096)
SCRATCH = Path("/nonexistent")  # nothing in these tests is large, where not said otherwise

row_bytes = st.binary(max_size=120).map(lambda row: row.replace(b"\n", b"n"))
row_lists = st.lists(row_bytes, max_size=200)


def text_of(rows: Sequence[bytes]) -> bytes:
    return b"".join(row + b"\n" for row in rows)


def random_rows(count: int, seed: int = 1) -> list[bytes]:
    """Rows of up to some 120 bytes, always the same ones."""
    hashes = (hashlib.shake_256(b"%d %d" % (seed, number)).digest(60) for number in range(count))
    return [b"%d\t%s" % (number, h.hex().encode()[: 2 * (h[0] % 60)]) for number, h in enumerate(hashes)]


def give(cutter: ChunkCutter, rows: list[bytes]) -> None:
    text = text_of(rows)
    cutter.room(len(text))[: len(text)] = text
    cutter.take(len(text))


class Kept(list[PlainChunk]):
    """Chunks as a cutter hands them on, kept."""

    def take(self, chunk: PlainChunk) -> None:
        chunk.keep()
        self.append(chunk)


class Cut:
    """What a cutter made of rows that came in blocks of the given lengths."""

    def __init__(self, rows: list[bytes], blocks: Sequence[int] = (), sizes: ChunkSizes = SIZES) -> None:
        self.chunks = Kept()
        cutter = ChunkCutter(sizes, self.chunks.take, SCRATCH)
        rest, lengths = rows, iter(blocks)
        while rest:
            number = next(lengths, len(rest))
            some, rest = rest[:number], rest[number:]
            if some:
                give(cutter, some)
        cutter.finish()
        self.digest, self.bytes = cutter.digest, cutter.bytes

    @property
    def ids(self) -> list[str]:
        return [chunk.id for chunk in self.chunks]

    @property
    def texts(self) -> list[bytes]:
        return [b"".join(chunk.blocks()) for chunk in self.chunks]


@given(rows=row_lists, blocks=st.lists(st.integers(1, 60), max_size=30))
def test_chunks_hold_all_rows_in_order_and_know_what_they_hold(rows: list[bytes], blocks: list[int]) -> None:
    cut = Cut(rows, blocks)
    assert b"".join(cut.texts) == text_of(rows)
    for chunk, text in zip(cut.chunks, cut.texts, strict=True):
        assert text.endswith(b"\n")
        assert (chunk.size, chunk.rows) == (len(text), text.count(b"\n"))
        assert chunk.id == hashlib.sha256(text).hexdigest()
    digest = Digest()
    digest.add_rows(rows)
    assert (cut.digest.rows, cut.digest.hex(), cut.bytes) == (len(rows), digest.hex(), len(text_of(rows)))


@given(rows=row_lists, one=st.lists(st.integers(1, 90), max_size=30), two=st.lists(st.integers(1, 9)))
def test_how_rows_were_batched_moves_no_boundary(rows: list[bytes], one: list[int], two: list[int]) -> None:
    assert Cut(rows).ids == Cut(rows, one).ids == Cut(rows, two).ids == Cut(rows, [1] * len(rows)).ids


@given(rows=row_lists)
def test_chunks_are_neither_small_nor_large(rows: list[bytes]) -> None:
    for text in Cut(rows).texts[:-1]:
        last_row = len(text) - text.rfind(b"\n", 0, -1) - 1
        assert len(text) >= SIZES.minimum
        assert len(text) - last_row < SIZES.maximum


def test_chunks_are_as_large_as_intended_on_average() -> None:
    rows = random_rows(20_000)
    average = len(text_of(rows)) / len(Cut(rows, [20] * 1000).chunks)
    assert SIZES.target * 0.7 < average < SIZES.target * 1.7


def test_rows_whose_hash_never_asks_for_a_cut_are_cut_by_force() -> None:
    rows = [b"the same"] * 5000
    lengths = [len(text) for text in Cut(rows).texts]
    assert len(set(lengths[:-1])) == 1
    assert max(lengths) < SIZES.maximum + len(b"the same\n")


@pytest.mark.parametrize("place", [0, 1, 2_500, 4_998])
def test_a_change_of_one_row_changes_only_the_chunks_around_it(place: int) -> None:
    rows = random_rows(5_000)
    blocks = [20] * 251  # the slower twin looks at all of a block again after each cut
    before = set(Cut(rows, blocks).ids)
    inserted = [*rows[:place], b"new", *rows[place:]]
    deleted = [*rows[:place], *rows[place + 1 :]]
    updated = [*rows[:place], b"changed", *rows[place + 1 :]]
    for changed in (inserted, deleted, updated):
        new = set(Cut(changed, blocks).ids) - before
        # A forced cut moves with what is before it, until the next cut that the content asks for.
        assert 1 <= len(new) <= 4
        assert len(before) > 150


def test_appended_rows_change_the_last_chunk_only() -> None:
    rows = random_rows(5_000)
    before, after = Cut(rows).ids, Cut(rows + random_rows(3, seed=2)).ids
    assert after[: len(before) - 1] == before[:-1]


def cut_records(records: list[bytes]) -> Kept:
    chunks = Kept()
    cutter = ChunkCutter(SIZES, chunks.take, SCRATCH)
    for record in records:
        cutter.record(record)
    cutter.finish()
    digest = Digest()
    digest.add_rows(records)
    assert (cutter.digest.rows, cutter.digest.value) == (len(records), digest.value)
    assert cutter.bytes == sum(map(len, records))
    return chunks


def test_records_are_cut_as_rows_are() -> None:
    rows = random_rows(5_000)
    chunks = cut_records(rows)
    texts = [b"".join(chunk.blocks()) for chunk in chunks]
    assert b"".join(texts) == b"".join(rows)
    assert sum(chunk.rows for chunk in chunks) == len(rows)
    assert all(SIZES.minimum <= len(text) < SIZES.maximum + max(map(len, rows)) for text in texts[:-1])
    before = {chunk.id for chunk in chunks}
    after = {chunk.id for chunk in cut_records([*rows[:2_500], b"new", *rows[2_500:]])}
    assert 1 <= len(after - before) <= 4
    assert len(before) > 150


@given(rows=row_lists, large=row_bytes, place=st.integers(0, 200), pieces=st.integers(1, 7))
def test_a_row_in_pieces_counts_like_any_other_and_ends_its_chunk(
    rows: list[bytes], large: bytes, place: int, pieces: int
) -> None:
    chunks = Kept()
    cutter = ChunkCutter(SIZES, chunks.take, SCRATCH)
    before, after = rows[:place], rows[place:]
    if before:
        give(cutter, before)
    cutter.large_row(iter([large[at : at + pieces] for at in range(0, len(large), pieces)]))
    chunks_so_far = len(chunks)
    if after:
        give(cutter, after)
    cutter.finish()
    texts = [b"".join(chunk.blocks()) for chunk in chunks]
    whole = [*before, large, *after]
    assert b"".join(texts) == text_of(whole)
    assert b"".join(texts[:chunks_so_far]) == text_of([*before, large])
    assert [chunk.rows for chunk in chunks] == [text.count(b"\n") for text in texts]
    digest = Digest()
    digest.add_rows(whole)
    assert (cutter.digest.rows, cutter.digest.hex(), cutter.bytes) == (
        len(whole),
        digest.hex(),
        len(text_of(whole)),
    )


def test_sizes_grow_with_the_relation() -> None:
    targets = [ChunkSizes.for_relation(size).target for size in (0, 1 << 30, (1 << 30) + 1, 1 << 36, 1 << 40)]
    assert targets == [MIB, MIB, 4 * MIB, 4 * MIB, 16 * MIB]


@pytest.mark.parametrize("size", [0, 1 << 30, (1 << 30) + 1, 1 << 36, 1 << 40])
def test_a_relations_chunks_fit_into_memory_however_large_it_is(size: int) -> None:
    assert ChunkSizes.for_relation(size).maximum <= SPOOL_BYTES


def plain_chunk(text: bytes) -> PlainChunk:
    return PlainChunk(memoryview(text), len(text), text.count(b"\n"), SCRATCH)


def stored(plain: PlainChunk) -> tuple[Chunk, bytes]:
    body, size, sha256 = plain.compressed()
    with body:
        content = body.read()
    assert (size, sha256) == (len(content), hashlib.sha256(content).hexdigest())
    return Chunk(plain.id, "a/chunks/00/00", "zstd", plain.rows, plain.size, size, sha256), content


def test_a_chunk_comes_back_as_it_was() -> None:
    plain = plain_chunk(b"one\ntwo\n")
    chunk, content = stored(plain)
    assert b"".join(open_chunk(chunk, io.BytesIO(content))) == b"one\ntwo\n"
    assert unpack_chunk(chunk, content) == b"one\ntwo\n"
    assert (chunk.rows, chunk.bytes) == (2, 8)


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_chunk_that_is_large_is_spooled_and_comes_back_as_it_was(tmp_path: Path, in_pieces: bool) -> None:
    block = hashlib.shake_256().digest(1 << 16).replace(b"\n", b"n") * 16
    text = block * (SPOOL_BYTES // len(block) + 3) + b"\n"
    if in_pieces:
        text = b"small\n" + text
    chunks = Kept()
    cutter = ChunkCutter(ChunkSizes(1 << 30, 1 << 31, 1 << 32), chunks.take, tmp_path)
    if in_pieces:
        give(cutter, [b"small"])
        cutter.large_row(iter([text[6:-1][at : at + MIB] for at in range(0, len(text) - 7, MIB)]))
    else:
        give(cutter, [text[:-1]])
        cutter.finish()
    (plain,) = chunks
    assert (plain.id, plain.size) == (hashlib.sha256(text).hexdigest(), len(text))
    chunk, content = stored(plain)
    unpacked = hashlib.sha256()
    for piece in open_chunk(chunk, io.BytesIO(content)):
        assert len(piece) <= MIB
        unpacked.update(piece)
    assert unpacked.hexdigest() == plain.id
    assert list(tmp_path.iterdir()) == []  # it has no name that could be left behind


def test_a_chunk_that_was_not_kept_refuses_memory_that_holds_other_rows_by_now() -> None:
    chunks: list[PlainChunk] = []
    cutter = ChunkCutter(SIZES, chunks.append, SCRATCH)
    give(cutter, random_rows(200))
    assert chunks
    with pytest.raises(ValueError, match="released"):
        chunks[0].compressed()


def test_a_frame_that_does_not_say_its_size_unpacks_as_well() -> None:
    chunk, _ = stored(plain_chunk(b"one\ntwo\n"))
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(b"one\ntwo\n")
    assert unpack_chunk(chunk, silent) == b"one\ntwo\n"


def test_anything_but_the_recorded_text_is_corrupt() -> None:
    plain = plain_chunk(text_of(random_rows(500)))
    chunk, content = stored(plain)
    other = zstandard.ZstdCompressor().compress(text_of(random_rows(500, seed=9))[: chunk.bytes])
    bomb = zstandard.ZstdCompressor().compress(b"\n" * (64 * MIB))
    silent_bomb = zstandard.ZstdCompressor(write_content_size=False).compress(b"\n" * (64 * MIB))
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for wrong in (
        content[:-1],
        content[: len(content) // 2],
        b"",
        b"no zstd",
        bytes(flipped),
        other,
        bomb,
        silent_bomb,
    ):
        with pytest.raises(ObjectCorruptError):
            for _ in open_chunk(chunk, io.BytesIO(wrong)):
                pass
        with pytest.raises(ObjectCorruptError):
            unpack_chunk(chunk, wrong)
    for record in (
        replace(chunk, bytes=chunk.bytes + 1),
        replace(chunk, bytes=chunk.bytes - 1),
        replace(chunk, id="0" * 64),
    ):
        with pytest.raises(ObjectCorruptError):
            for _ in open_chunk(record, io.BytesIO(content)):
                pass
        with pytest.raises(ObjectCorruptError):
            unpack_chunk(record, content)
