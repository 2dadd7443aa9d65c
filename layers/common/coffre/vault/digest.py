"""Order-independent content digests.

The digest of a set of rows is the sum modulo 2^128 of ``xxh3_128(row)`` over its rows, each row in COPY text
without the newline that ends it.  Equal content gives equal digests in any order.  It detects accidents and
lost updates; against forgery stand the chunks' SHA-256 and the manifest's root hash.
"""

from __future__ import annotations

from collections.abc import Iterable

import xxhash

MODULUS = 1 << 128

_GAP = b"\x00" * 8
_LANE = 16 + len(_GAP)
_SLICES = 8


def row_hashes(rows: Iterable[bytes]) -> list[bytes]:
    """The hash of each row: 16 bytes, big-endian, so that they sort as the numbers they stand for."""
    return list(map(xxhash.xxh3_128_digest, rows))


def sum_hashes(hashes: list[bytes]) -> int:
    """The sum modulo 2^128 of 16-byte big-endian numbers.

    Adding Python integers one by one costs twice as much as hashing the rows.  So the numbers are laid side
    by side, each in a lane of its own with 64 free bits for carries; the lanes are read as a few large
    integers, which are added, and what comes out is folded in the middle until one lane is left.
    """
    if not hashes:
        return 0
    lanes = _GAP.join(hashes) + _GAP
    slice_lanes = -(-len(hashes) // _SLICES)
    step = slice_lanes * _LANE
    total = 0
    for start in range(0, len(lanes), step):
        part = lanes[start : start + step]
        total += int.from_bytes(part.ljust(step, b"\x00"), "big")
    while slice_lanes > 1:
        slice_lanes = (slice_lanes + 1) // 2
        shift = slice_lanes * _LANE * 8
        total = (total >> shift) + (total & ((1 << shift) - 1))
    return (total >> len(_GAP) * 8) % MODULUS


def add_digests(one: str, other: str) -> str:
    """The sum of two digests in hex."""
    return f"{(int(one, 16) + int(other, 16)) % MODULUS:032x}"


class Digest:
    """A digest under construction."""

    __slots__ = ("rows", "value")

    def __init__(self) -> None:
        self.rows = 0
        self.value = 0

    def add_hashes(self, hashes: list[bytes]) -> None:
        """Add rows by their hashes (see `row_hashes`)."""
        self.rows += len(hashes)
        self.value = (self.value + sum_hashes(hashes)) % MODULUS

    def add_rows(self, rows: list[bytes]) -> None:
        """Add rows in COPY text without their newlines."""
        self.add_hashes(row_hashes(rows))

    def add(self, rows: int, value: int) -> None:
        """Add another digest: digests of parts add up to the digest of the whole."""
        self.rows += rows
        self.value = (self.value + value) % MODULUS

    def hex(self) -> str:
        """The digest as 32 hex digits."""
        return f"{self.value:032x}"
