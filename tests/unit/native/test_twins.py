"""The compiled inner loops and their twins in Python find the same, in whatever they are given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coffre.compiled import compiled
from coffre.databases.postgresql.frames import Strip, compiled_strip, strip_in_python
from coffre.vault.chunks import ChunkCutter, PlainChunk
from coffre.vault.digest import Digest, row_hashes
from coffre.vault.scan import ChunkSizes, Scan, compiled_scan, scan_in_python

LARGE = 1 << 20
MODULUS = 1 << 128

rows = st.lists(st.binary(max_size=300).map(lambda row: row.translate(None, b"\0\n")), max_size=60)


def framed(text: bytes) -> bytes:
    return b"d" + (len(text) + 4).to_bytes(4, "big") + text


@pytest.fixture(scope="module")
def library() -> Any:
    found = compiled()
    if found is None:
        pytest.skip("coffre_native isn't installed: `make install` says why")
    return found


class Text:
    """A sink that keeps the text."""

    def __init__(self) -> None:
        self.text = b""
        self._room = bytearray()

    def room(self, size: int) -> memoryview:
        self._room = bytearray(size)
        return memoryview(self._room)

    def take(self, size: int) -> None:
        self.text += bytes(self._room[:size])

    def large_row(self, pieces: Iterator[bytes]) -> None:
        raise AssertionError(pieces)


def stripped(strip: Strip, data: bytes, large: int = LARGE) -> tuple[bytes, int, int]:
    sink = Text()
    taken, number = strip(memoryview(bytearray(data)), large, sink)
    assert number == sink.text.count(b"\n")
    return sink.text, taken, number


@given(rows=rows, end=st.integers(0, 400), large=st.sampled_from([LARGE, 200]))
@settings(max_examples=300)
def test_both_take_the_same_rows_off_the_same_frames(
    library: Any, rows: list[bytes], end: int, large: int
) -> None:
    """The one in Python needs the next row's header to see a row's end, and leaves blocks with large rows."""
    data = b"".join(framed(row + b"\n") for row in rows)
    data = data[: len(data) - min(end, len(data))]
    text, taken, _ = stripped(compiled_strip(library), data, large)
    other, fewer, _ = stripped(strip_in_python, data, large)
    assert text.startswith(other)
    assert taken >= fewer
    kept = data[:taken]
    assert kept == b"".join(framed(row + b"\n") for row in text.split(b"\n")[:-1])
    rest = data[taken:]
    whole = len(rest) >= 5 and len(rest) > int.from_bytes(rest[1:5], "big")
    assert not whole or int.from_bytes(rest[1:5], "big") - 4 > large


@given(data=st.binary(max_size=400), rows=rows, flips=st.lists(st.integers(0, 10_000), max_size=3))
@settings(max_examples=400)
def test_neither_takes_what_is_not_rows_in_frames(
    library: Any, data: bytes, rows: list[bytes], flips: list[int]
) -> None:
    """Noise behind or inside of rows: what is taken is always frames of one row each."""
    noisy = bytearray(b"".join(framed(row + b"\n") for row in rows) + data)
    for flip in flips:
        if noisy:
            noisy[flip % len(noisy)] ^= 1 << flip % 8
    for strip in (compiled_strip(library), strip_in_python):
        text, taken, number = stripped(strip, bytes(noisy))
        assert b"\0" not in text
        assert noisy[:taken] == b"".join(framed(row + b"\n") for row in text.split(b"\n")[:number])


def scanned(scan: Scan, digest: Digest, text: bytes, held: int) -> list[tuple[int, bool, int, int]]:
    found, is_cut = [], True
    view = memoryview(bytearray(text))
    while is_cut:
        taken, is_cut = scan(view, held)
        found.append((taken, is_cut, digest.rows, digest.value))
        view, held = view[taken:], 0
    return found


@given(
    rows=rows,
    rest=st.binary(max_size=9).map(lambda row: row.replace(b"\n", b"")),
    held=st.integers(0, 3000),
    target=st.integers(1, 3000),
    minimum=st.integers(0, 900),
)
@example(rows=[b""] * 60, rest=b"", held=0, target=1, minimum=0)
@settings(max_examples=400)
def test_both_find_the_same_hashes_and_the_same_cuts(
    library: Any, rows: list[bytes], rest: bytes, held: int, target: int, minimum: int
) -> None:
    sizes = ChunkSizes(min(minimum, 4 * target), target, 4 * target)
    text = b"".join(row + b"\n" for row in rows) + rest
    one, two = Digest(), Digest()
    assert scanned(compiled_scan(library, one, sizes), one, text, held) == scanned(
        scan_in_python(two, sizes), two, text, held
    )
    assert one.rows == len(rows)


@given(
    row=st.binary(min_size=0, max_size=200).map(lambda row: row.replace(b"\n", b"")), off=st.integers(-1, 1)
)
@settings(max_examples=300)
def test_both_cut_at_exactly_the_same_threshold(library: Any, row: bytes, off: int) -> None:
    """The target is chosen so that the row's hash lies at its threshold, or next to it."""
    number = int.from_bytes(row_hashes([row])[0], "big")
    target = max(1, (len(row) + 1) * MODULUS // (number + 1) + off)
    sizes = ChunkSizes(0, target, 1 << 62)
    if target < 1 << 62:
        expected = number < min((len(row) + 1) * MODULUS // target, MODULUS - 1)
        for make in (lambda d: compiled_scan(library, d, sizes), lambda d: scan_in_python(d, sizes)):
            assert make(Digest())(memoryview(bytearray(row + b"\n")), 0) == (len(row) + 1, expected)


@pytest.mark.parametrize("length", [0, 1, 3, 8, 16, 17, 128, 129, 240, 241, 1024, 1025, 5000, 1 << 20])
def test_rows_of_every_kind_of_length_have_the_same_hash(library: Any, length: int) -> None:
    """XXH3 has a way of its own for each of these ranges."""
    row = hashlib.shake_256(b"%d" % length).digest(length).replace(b"\n", b"n")
    digest = Digest()
    compiled_scan(library, digest, None)(memoryview(bytearray(row + b"\n")), 0)
    assert digest.value == int.from_bytes(row_hashes([row])[0], "big")


def known_rows(number: int) -> list[bytes]:
    hashes = (hashlib.shake_256(b"7 %d" % n).digest(60) for n in range(number))
    return [b"%d\t%s" % (n, h.hex().encode()[: 2 * (h[0] % 60)]) for n, h in enumerate(hashes)]


@pytest.mark.parametrize(
    ("sizes", "number", "chunks", "expected"),
    [
        (ChunkSizes(256, 1024, 4096), 20_000, 1005, "d80460c212479c17"),
        (ChunkSizes(250, 1000, 4000), 20_000, 1033, "3ba5c414996157ac"),
        (ChunkSizes.for_relation(1), 200_000, 12, "4e7f76a1904beaa9"),
    ],
)
@pytest.mark.usefixtures("twin")
def test_chunks_are_those_of_older_backups(
    sizes: ChunkSizes, number: int, chunks: int, expected: str
) -> None:
    """Recorded before there was a compiled twin: other boundaries would store every table once more."""
    found: list[tuple[str, int, int]] = []
    emit: Callable[[PlainChunk], None] = lambda plain: found.append((plain.id, plain.size, plain.rows))  # noqa: E731
    cutter = ChunkCutter(sizes, emit, Path("/nonexistent"))
    rows = known_rows(number)
    for start in range(0, number, 997):
        text = b"".join(row + b"\n" for row in rows[start : start + 997])
        cutter.room(len(text))[: len(text)] = text
        cutter.take(len(text))
    cutter.finish()
    assert (len(found), hashlib.sha256(repr(found).encode()).hexdigest()[:16]) == (chunks, expected)
