"""Order-independent content digests.

The digest of a set of rows is the sum modulo 2^128 of ``xxh3_128(row)`` over its rows, each row in COPY text
without the newline that ends it.  Equal content gives equal digests in any order.  It detects accidents and
lost updates; against forgery stand the chunks' SHA-256 and the manifest's root hash.
"""

from __future__ import annotations

from collections.abc import Iterable

import xxhash

MODULUS = 1 << 128

_LANES = 1 << 14
_LOW_HALVES = int.from_bytes((b"\x00" * 8 + b"\xff" * 8) * _LANES, "big")


def row_hashes(rows: Iterable[bytes]) -> list[bytes]:
    """The hash of each row: 16 bytes, big-endian, so that they sort as the numbers they stand for."""
    return list(map(xxhash.xxh3_128_digest, rows))


def sum_hashes(hashes: list[bytes]) -> int:
    """The sum modulo 2^128 of 16-byte big-endian numbers.

    Adding Python integers one by one costs twice as much as hashing the rows.  So all numbers are laid side
    by side in one large integer, in lanes of 128 bits; it is split into the lanes' low and high halves, which
    leaves 64 free bits above each half for carries; and both are folded in the middle until one lane is left.
    """
    total = 0
    for start in range(0, len(hashes), _LANES):
        some = hashes[start : start + _LANES]
        lanes = int.from_bytes(b"".join(some), "big")
        low = lanes & _LOW_HALVES
        high = (lanes >> 64) & _LOW_HALVES
        width = 1 << (len(some) - 1).bit_length()
        while width > 1:
            width >>= 1
            shift = width * 128
            mask = (1 << shift) - 1
            low = (low >> shift) + (low & mask)
            high = (high >> shift) + (high & mask)
        total += low + (high << 64)
    return total % MODULUS


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
