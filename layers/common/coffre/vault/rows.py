"""Rows in COPY text: splitting a stream of text back into rows, for their digest and their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import xxhash

from coffre.errors import ObjectCorruptError
from coffre.vault.digest import Digest


def digest_text(blocks: Iterable[bytes], digest: Digest) -> int:
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
    row = xxhash.xxh3_128()
    for block in blocks:
        length += len(block)
        rows = block.split(b"\n")
        last = rows.pop()
        if rows and is_open:
            row.update(rows.pop(0))
            digest.add(1, row.intdigest())
            row, is_open = xxhash.xxh3_128(), False
        digest.add_rows(rows)
        if last:
            row.update(last)
            is_open = True
    if is_open:
        raise ObjectCorruptError("a chunk's text ends in the middle of a row")
    return length


class DigestSink:
    """A `RowSink` that keeps nothing but the digest."""

    def __init__(self) -> None:
        self.digest = Digest()
        self.bytes = 0

    def rows(self, rows: list[bytes], text: bytes) -> None:
        """Take whole rows; see `RowSink`."""
        self.digest.add_rows(rows)
        self.bytes += len(text)

    def large_row(self, pieces: Iterator[bytes]) -> None:
        """Take one row in pieces; see `RowSink`."""
        row = xxhash.xxh3_128()
        for piece in pieces:
            row.update(piece)
            self.bytes += len(piece)
        self.bytes += 1
        self.digest.add(1, row.intdigest())
