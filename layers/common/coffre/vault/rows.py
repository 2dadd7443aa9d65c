"""Rows in COPY text, and binary records: splitting a stream back into them, for their digest and number."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import xxhash

from coffre.buffers import TextBuffer
from coffre.errors import ObjectCorruptError
from coffre.vault.digest import Digest
from coffre.vault.scan import scanner

_PIECE = struct.Struct(">hiIiqi")
"""What comes before the bytes: how many fields there are, and before each its length."""


def digest_text(blocks: Iterable[bytes | bytearray], digest: Digest) -> int:
    """Add the rows of a text to ``digest``; the text may break anywhere and holds whole rows at its end.

    A row that spans blocks is hashed piece by piece, so that none is ever held whole.

    Returns
    -------
    int
        The text's length in bytes.

    Raises
    ------
    ObjectCorruptError
        If the text doesn't end with a row's newline.
    """
    length, is_open = 0, False
    row, scan = xxhash.xxh3_128(), scanner(digest)
    for block in blocks:
        length += len(block)
        start = 0
        if is_open and (start := block.find(b"\n") + 1):
            row.update(block[: start - 1])
            digest.add(1, row.intdigest())
            row, is_open = xxhash.xxh3_128(), False
        if not is_open:
            start += scan(memoryview(block)[start:], 0)[0]
        if start < len(block):
            row.update(block[start:])
            is_open = True
    if is_open:
        raise ObjectCorruptError("a chunk's text ends in the middle of a row")
    return length


def digest_records(blocks: Iterable[bytes | bytearray], digest: Digest) -> int:
    """The same for pieces of large objects, records of three fields: numbers of 4 and 8 bytes, and bytes.

    Raises
    ------
    ObjectCorruptError
        If it isn't whole records of that form.
    """
    length, rest = 0, b""
    for block in blocks:
        length += len(block)
        held, start = rest + block, 0
        while (end := _record_end(held, start)) <= len(held):
            digest.add_rows([held[start:end]])
            start = end
        rest = held[start:]
    if rest:
        raise ObjectCorruptError("a chunk's records end in the middle of one")
    return length


def _record_end(held: bytes, start: int) -> int:
    """Where the record ends that begins at ``start``; beyond what is held if that can't be told yet."""
    if len(held) < start + _PIECE.size:
        return len(held) + 1
    fields, first, _, second, _, size = _PIECE.unpack_from(held, start)
    if (fields, first, second) != (3, 4, 8) or size < 0:
        raise ObjectCorruptError("a chunk of large objects holds something else")
    return start + _PIECE.size + int(size)


class DigestSink:
    """A `RowSink`, for records as well, that keeps nothing but the digest."""

    def __init__(self) -> None:
        self.digest = Digest()
        self.bytes = 0
        self._text = TextBuffer()
        self._scan = scanner(self.digest)

    def room(self, size: int) -> memoryview:
        """Where the text is to be written; see `RowSink`."""
        return self._text.room(size)

    def take(self, size: int) -> None:
        """Take whole rows; see `RowSink`."""
        self._scan(self._text.room(size)[:size], 0)
        self.bytes += size

    def large_row(self, pieces: Iterator[bytes]) -> None:
        """Take one row in pieces; see `RowSink`."""
        row = xxhash.xxh3_128()
        for piece in pieces:
            row.update(piece)
            self.bytes += len(piece)
        self.bytes += 1
        self.digest.add(1, row.intdigest())

    def record(self, record: bytes) -> None:
        """Take one record of the binary format."""
        self.digest.add_rows([record])
        self.bytes += len(record)
