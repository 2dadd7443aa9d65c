"""The COPY pump for values that text would double: rows as records of PostgreSQL's binary format.

The format's header comes before the first record and its end mark after the last one; what lies between is
handed on, record by record, and is what `with_frame` makes a whole again.

Source: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.copy import LARGE_ROW, CopyOut
from coffre.databases.postgresql.frames import RecordSink
from coffre.errors import ProtocolViolationError

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER = _SIGNATURE + bytes(8)  # no flags, no extension
_END = b"\xff\xff"


def copy_out_binary(session: Session, statement: str, sink: RecordSink) -> int:
    """Run a ``COPY ... TO STDOUT (FORMAT binary)`` of records up to `LARGE_ROW` and hand them to ``sink``.

    Returns
    -------
    int
        The number of records, equal to the server's own count.

    Raises
    ------
    ConnectionLostError, ProtocolViolationError, RowCountMismatchError, DiskFullError
        As `coffre.databases.postgresql.copy.copy_out` does.
    """
    return _BinaryOut(session, sink).run(statement)


def with_frame(records: Iterable[bytes | bytearray]) -> Iterator[bytes | bytearray]:
    """What ``COPY ... FROM STDIN (FORMAT binary)`` takes: header, records in blocks of any size, end mark."""
    yield _HEADER
    yield from records
    yield _END


class _BinaryOut(CopyOut):
    def __init__(self, session: Session, sink: RecordSink) -> None:
        super().__init__(session, sink)
        self._records = sink
        self._begun = self._ended = False

    def _block(self) -> bool:
        ended = self._others()
        if not ended and self._data.size > 2 * LARGE_ROW:
            raise ProtocolViolationError(f"{self._where} sent a record of more than {LARGE_ROW} bytes")
        if ended and self._begun and not self._ended and self._fault is None:
            raise ProtocolViolationError(f"{self._where} sent records without an end mark")
        return ended

    def _row(self, text: bytes) -> None:
        """Take the payload of a CopyData message: the header, if it is the first, and a record or the end."""
        if not self._begun:
            if text[: len(_HEADER)] != _HEADER:
                raise ProtocolViolationError(f"{self._where} sent a binary header that isn't known")
            text, self._begun = text[len(_HEADER) :], True
        if text == _END:
            self._ended = True
        elif text:
            self._counted += 1
            self._records.record(text)
