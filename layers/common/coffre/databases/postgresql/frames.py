r"""Rows off their frames: a block of a COPY's messages becomes COPY text.

In COPY's text format a server sends one CopyData message a row; the row's text ends in its only newline and
holds no NUL byte.  Both twins take the plain rows at the front of a block, and nothing else: a message of
another kind, one that isn't whole or isn't one row, and a row above the limit are left where they are.  The
twin in Python may leave plain rows, too: those that stand before what it doesn't understand.

Source: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from ctypes import addressof, byref, c_char
from typing import Any, Protocol

from coffre.compiled import compiled

HEADER = 5
"""Bytes before a message's payload: its kind, and its length, which counts itself but not the kind."""

_SPLIT = re.compile(rb"\nd(\x00...)", re.DOTALL).split


class RowSink(Protocol):
    """What takes the rows of a COPY."""

    def room(self, size: int) -> memoryview:
        """At least ``size`` bytes, where the text of rows is to be written."""

    def take(self, size: int) -> None:
        """Take the whole rows whose text lies in the first ``size`` bytes of the last `room`."""

    def large_row(self, pieces: Iterator[bytes]) -> None:
        """Take one row in pieces, without its newline.  All pieces must be consumed."""


class RecordSink(RowSink, Protocol):
    """What takes the records of a COPY in the binary format as well."""

    def record(self, record: bytes) -> None:
        """Take one record, whole."""


Strip = Callable[[memoryview, int, RowSink], tuple[int, int]]
"""Gives the plain rows at the front of a block to the sink.  Takes the block, the most bytes that a row may
have with its newline, and the sink; returns the bytes of the block that it took, and the rows."""


def stripper() -> Strip:
    """The compiled twin if there is one."""
    library = compiled()
    return strip_in_python if library is None else compiled_strip(library)


def compiled_strip(library: Any) -> Strip:
    """The twin that is compiled."""
    done = library.Strip()
    strip, result = library.strip, byref(done)

    def strip_compiled(data: memoryview, large: int, sink: RowSink) -> tuple[int, int]:
        size = len(data)
        if size <= HEADER:
            return 0, 0
        out = sink.room(size)
        strip(
            addressof(c_char.from_buffer(data)), size, addressof(c_char.from_buffer(out)), size, large, result
        )
        if done.rows:
            sink.take(done.written)
        return done.taken, done.rows

    return strip_compiled


def strip_in_python(data: memoryview, large: int, sink: RowSink) -> tuple[int, int]:
    r"""The twin in Python: ``\nd\0`` can only be the end of a row and the header of the next one.

    So one call of `re.split` takes a whole block apart.  What doesn't fit that picture shows in a length that
    isn't the row's, or in what should be text, and nothing is taken.
    """
    block = b"\n" + bytes(data)
    cut = block.rfind(b"\nd\x00")
    if cut <= 0:
        return 0, 0
    before, *parts = _SPLIT(block[:cut])
    rows = parts[1::2]
    if before or max(map(len, rows)) >= large:
        return 0, 0
    lengths = struct.pack(f">{len(rows)}I", *[len(row) + HEADER for row in rows])
    text = b"\n".join(rows) + b"\n"
    if b"".join(parts[::2]) != lengths or b"\x00" in text or text.count(b"\n") != len(rows):
        return 0, 0
    sink.room(len(text))[: len(text)] = text
    sink.take(len(text))
    return cut, len(rows)
