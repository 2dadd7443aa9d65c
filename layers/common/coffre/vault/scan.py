"""What rows say: their hashes for the digest, and where a chunk ends.

A chunk ends after a row whose hash falls below a threshold that is proportional to the row's length.  So a
boundary depends on one row only: an insert moves the boundaries around it and no others, and all other chunks
keep their ids.

The two twins find the same: a chunk that was cut by one is found again by the other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from ctypes import addressof, byref, c_char
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from coffre.compiled import compiled
from coffre.vault.digest import Digest, row_hashes

MIB = 1 << 20


@dataclass(frozen=True)
class ChunkSizes:
    """Plain bytes of a chunk: no boundary before ``minimum``, ``target`` on average, forced at ``maximum``.

    One row alone may exceed the maximum.
    """

    minimum: int
    target: int
    maximum: int

    @classmethod
    def for_relation(cls, size: int) -> ChunkSizes:
        """The sizes for ``size`` bytes on disk: small chunks deduplicate, large ones are cheap.

        A worker holds a chunk, and memory shall not grow with tables: so large ones are forced earlier.  A
        sixth of them is, which costs an insert a fifth of a chunk more.
        """
        if size <= 1 << 30:
            return cls(MIB // 4, MIB, 4 * MIB)
        target = 4 * MIB if size <= 1 << 36 else 16 * MIB
        return cls(target // 4, target, 2 * target)


Scan = Callable[[memoryview, int], tuple[int, bool]]
"""Adds the rows of a text to a digest, up to the first that ends a chunk.  Takes the text, and the bytes of
the chunk before it; returns the bytes that it took (whole rows), and whether a chunk ends there."""


def scanner(digest: Digest, sizes: ChunkSizes | None = None) -> Scan:
    """The compiled twin if there is one.

    Parameters
    ----------
    sizes:
        Where chunks may end; None: nowhere.
    """
    library = compiled()
    return scan_in_python(digest, sizes) if library is None else compiled_scan(library, digest, sizes)


def compiled_scan(library: Any, digest: Digest, sizes: ChunkSizes | None) -> Scan:
    """The twin that is compiled."""
    found = library.Scan()
    call, result = library.scan, byref(found)
    limits = (sizes.minimum, sizes.target, sizes.maximum) if sizes is not None else (0, 0, 0)

    def scan(text: memoryview, held: int) -> tuple[int, bool]:
        size = len(text)
        if not size:
            return 0, False
        if text.readonly:  # ctypes doesn't point into such memory
            text = memoryview(bytearray(text))
        taken = call(addressof(c_char.from_buffer(text)), size, held, *limits, result)
        digest.add(found.rows, found.high << 64 | found.low)
        return taken, bool(found.cut)

    return scan


def scan_in_python(digest: Digest, sizes: ChunkSizes | None) -> Scan:
    """The twin in Python."""

    def scan(text: memoryview, held: int) -> tuple[int, bool]:
        *rows, rest = bytes(text).split(b"\n")
        if not rows:
            return 0, False
        hashes = row_hashes(rows)
        number = None if sizes is None else _first_cut(rows, hashes, held, sizes)
        digest.add_hashes(hashes[:number])
        if number is None:
            return len(text) - len(rest), False
        return sum(map(len, rows[:number])) + number, True

    return scan


def ends_chunk(row_hash: bytes, length: int, size: int, sizes: ChunkSizes) -> bool:
    """Whether a chunk ends after a row; ``size`` is the chunk's bytes with that row."""
    asks = size >= sizes.minimum and row_hash < _threshold(length, sizes.target)
    return asks or size >= sizes.maximum


def _first_cut(rows: list[bytes], hashes: list[bytes], held: int, sizes: ChunkSizes) -> int | None:
    """How many of the rows stand before the first cut; None if there is none."""
    size = sum(map(len, rows)) + len(rows)
    if held + size < sizes.minimum:
        return None
    likely = _candidates(rows, hashes, sizes.target)
    if not likely and held + size < sizes.maximum:
        return None
    sums = list(accumulate(map(len, rows)))

    def end(row: int) -> int:
        return sums[row] + row + 1  # a newline stands after each row

    forced = bisect_left(range(len(rows)), sizes.maximum - held, key=end) + 1
    allowed = bisect_left(range(len(rows)), sizes.minimum - held, key=end) + 1
    number = next((number for number in likely if allowed <= number <= forced), forced)
    return number if number <= len(rows) else None


def _candidates(rows: list[bytes], hashes: list[bytes], target: int) -> list[int]:
    """The numbers, from 1, of the rows whose hash asks for a cut.

    The hashes are compared with the longest row's threshold first: that settles nearly all of them.
    """
    coarse = _threshold(max(map(len, rows)), target)
    if min(hashes) >= coarse:
        return []
    numbers, number = [], 0
    for row_hash in filter(coarse.__gt__, hashes):
        number = hashes.index(row_hash, number) + 1
        if row_hash < _threshold(len(rows[number - 1]), target):
            numbers.append(number)
    return numbers


def _threshold(length: int, target: int) -> bytes:
    """A row of ``length`` bytes ends a chunk if its hash, a number below 2^128, is below this."""
    return min((length + 1 << 128) // target, (1 << 128) - 1).to_bytes(16, "big")
