r"""The COPY pump: rows out of and into a server at the speed of its socket.

Out: in COPY's text format a server sends one CopyData message a row, and the row's text ends in its only
newline and holds no NUL byte.  So ``\nd\0`` can only be the end of a row and the header of the next, and one
call of `re.split` takes a whole block apart.  What doesn't fit that picture (a notice in
mid-stream, an error, a message of another kind) leaves a NUL byte in what should be text, and the block is
parsed again message by message.  Rows above `LARGE_ROW` are handed on in pieces, never held.  At the end the
server's own count of rows decides.

In: a CopyData message may hold any number of bytes, so blocks are sent as they are.

Source: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from typing import Protocol

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.faults import server_error
from coffre.errors import (
    ConnectionLostError,
    ProtocolViolationError,
    RowCountMismatchError,
    disk_full_named,
)

BLOCK = 1 << 16
"""Bytes that are gathered before they are taken apart: enough to amortise the calls, few enough that rows and
hashes stay in the processor's cache."""

LARGE_ROW = 1 << 20
"""Rows with more bytes than this are streamed in pieces."""

_SPLIT = re.compile(rb"\nd\x00...", re.DOTALL).split
_END = re.compile(rb"c\x00\x00\x00\x04C\x00\x00\x00[\s\S]COPY (\d+)\x00Z\x00\x00\x00\x05[TIE]\Z")
_READY = b"Z\x00\x00\x00\x05"
_HEADER = struct.Struct(">cI")


class RowSink(Protocol):
    """What takes the rows of a COPY."""

    def rows(self, rows: list[bytes], text: bytes) -> None:
        """Take whole rows: without their newlines in ``rows``, and as COPY text in ``text``."""

    def large_row(self, pieces: Iterator[bytes]) -> None:
        """Take one row in pieces, without its newline.  All pieces must be consumed."""


def copy_out(session: Session, statement: str, sink: RowSink) -> int:
    """Run a ``COPY ... TO STDOUT`` in text format and hand its rows to ``sink``.

    Returns
    -------
    int
        The number of rows, equal to the server's own count.

    Raises
    ------
    ConnectionLostError, ProtocolViolationError, RowCountMismatchError, DiskFullError
        Or what fits the server's error.  After an error the session can't be used again.
    """
    return _CopyOut(session, sink).run(statement)


class _CopyOut:
    """One COPY TO STDOUT.

    ``_data`` always starts with the newline that ended the row before (or a newline that stands for it) and
    then, exactly, a message's header.
    """

    def __init__(self, session: Session, sink: RowSink) -> None:
        self._session = session
        self._socket = session.socket
        self._sink = sink
        self._where = session.target.label
        self._buffer = bytearray(BLOCK)
        self._view = memoryview(self._buffer)
        self._data = b"\n"
        self._counted = 0
        self._announced: int | None = None
        self._fault: Exception | None = None

    def run(self, statement: str) -> int:
        try:
            with disk_full_named():  # a sink may write to scratch space
                _send_query(self._session, statement)
                self._await_start()
                while not self._block():
                    self._receive()
        except OSError as error:
            raise _broken(self._session) from error
        if self._fault is not None:
            raise self._fault
        if self._announced != self._counted:
            raise RowCountMismatchError(
                f"{self._where}: {self._counted} rows arrived, the server counted {self._announced}"
                f" ({statement})"
            )
        return self._counted

    def _await_start(self) -> None:
        """Read up to the server's CopyOutResponse; what the driver has buffered comes first."""
        data = b""
        while True:
            data += self._session.buffered()
            rest = 0
            for kind, payload, rest in _messages(data):
                if kind == b"H":
                    self._data = b"\n" + data[rest:]
                    return
                if self._control(kind, payload):
                    raise self._fault or ProtocolViolationError(f"{self._where} answered a COPY without rows")
            data = data[rest:]

    def _receive(self) -> None:
        """Gather a block, or less at the end of the stream, which a ReadyForQuery marks.

        The mark may have begun in what was received before.  A server that closes the session may have said
        why: that is taken in first.
        """
        before = self._data[-5:]
        filled = 0
        while filled < BLOCK:
            got = self._socket.recv_into(self._view[filled:])
            if got == 0 and filled == 0:
                raise self._fault or ConnectionLostError(
                    f"{self._where} closed the session in the middle of a COPY"
                )
            filled += got
            if got == 0 or (before + self._buffer[max(0, filled - 6) : filled])[-6:-1] == _READY:
                break
        self._data += self._view[:filled]

    def _block(self) -> bool:
        """Hand on all whole rows in ``_data``; True when the stream has ended."""
        data = self._data
        if data[-6:-1] == _READY:
            end = _END.search(data, max(0, len(data) - 64))
            if end is None:
                return self._exact()
            self._announced = int(end[1])
            self._data = b"\n"
            return self._split(data, end.start() - 1) or self._exact(data)
        cut = data.rfind(b"\nd\x00")
        if cut > 0 and self._split(data, cut):
            self._data = data[cut:]
            return self._large_row()
        return self._large_row() if cut == 0 else self._exact()

    def _split(self, data: bytes, cut: int) -> bool:
        """The fast path for ``data[:cut]``; False if it holds anything but rows: nothing was handed on."""
        if cut == 0:
            return True
        rows = _SPLIT(data[:cut])
        if rows[0]:
            return False
        del rows[0]
        rows.append(b"")
        text = b"\n".join(rows)
        del rows[-1]
        # The last row holds a newline if ``cut`` lies in the header of a row of 16 MiB or more.
        if b"\x00" in text or b"\n" in rows[-1]:
            return False
        self._counted += len(rows)
        self._sink.rows(rows, text)
        return True

    def _large_row(self) -> bool:
        """Stream the row that stands first in ``_data`` if it is a large one.

        A small one that is whole stands before a header that the fast path can't see (of a row of 16 MiB or
        more, or of another kind of message): it goes the exact way.  True when that was the stream's end.
        """
        if len(self._data) < 6 or self._data[1:2] != b"d":
            return False
        length = int.from_bytes(self._data[2:6], "big") - 4
        if length > LARGE_ROW:
            self._counted += 1
            self._sink.large_row(self._pieces(length - 1))
            self._end_large_row()
            # The stream's end may have come with the row's; nothing more would be received then.
            return self._data[-6:-1] == _READY and self._block()
        if len(self._data) >= length + 6 + len(b"\n"):
            return self._exact()
        return False

    def _pieces(self, length: int) -> Iterator[bytes]:
        first = self._data[6 : 6 + length]
        self._data = self._data[6 + length :]
        length -= len(first)
        yield first
        while length:
            got = self._socket.recv_into(self._view[: min(BLOCK, length)])
            if got == 0:
                raise ConnectionLostError(f"{self._where} closed the session in the middle of a row")
            length -= got
            yield bytes(self._view[:got])

    def _end_large_row(self) -> None:
        while not self._data:
            self._receive()
        if self._data[:1] != b"\n":
            raise ProtocolViolationError(f"{self._where} sent a row that doesn't end in a newline")

    def _exact(self, data: bytes | None = None) -> bool:
        """The slow path: message by message; True when the stream has ended."""
        data = (self._data if data is None else data)[1:]
        rows: list[bytes] = []
        ended, rest = False, 0
        for kind, payload, rest in _messages(data):  # noqa: B007 - where the last one ended
            if kind == b"d":
                rows.append(self._row(payload))
            else:
                ended = self._control(kind, payload) or ended
        if rows:
            self._counted += len(rows)
            self._sink.rows(rows, b"\n".join(rows) + b"\n")
        self._data = b"\n" + data[rest:]
        return ended or self._large_row()

    def _row(self, payload: bytes) -> bytes:
        if payload[-1:] != b"\n" or payload.find(b"\n") != len(payload) - 1 or b"\x00" in payload:
            raise ProtocolViolationError(f"{self._where} sent a CopyData message that is not one row of text")
        return payload[:-1]

    def _control(self, kind: bytes, payload: bytes) -> bool:
        """Take a message that isn't a row; True for ReadyForQuery."""
        if kind == b"E":
            self._fault = server_error(_fields(payload), self._where)
        elif kind == b"C":
            self._announced = _command_count(payload)
        elif kind not in (b"Z", b"c", b"N", b"S", b"A"):
            raise ProtocolViolationError(f"{self._where} sent a message {kind!r} in the middle of a COPY")
        return kind == b"Z"


def copy_in(session: Session, statement: str, blocks: Iterable[bytes]) -> int:
    """Run a ``COPY ... FROM STDIN`` in text format with the rows in ``blocks``.

    Parameters
    ----------
    blocks:
        COPY text in pieces of any size; 64 KiB to a few MiB are best.

    Returns
    -------
    int
        The number of rows that the server counted.

    Raises
    ------
    ConnectionLostError
        Or what fits the server's error, a violated constraint for example.  If ``blocks`` itself raises, the
        COPY is cancelled and the error goes on; the session can be used again.
    """
    _send_query(session, statement)
    _await_copy_in(session)
    try:
        for block in blocks:
            _send(session, b"d", block)
    except BaseException:
        _send(session, b"f", b"cancelled\x00")
        _drain(session)
        raise
    _send(session, b"c", b"")
    announced, fault = _drain(session)
    if fault is not None:
        raise fault
    return announced


def _await_copy_in(session: Session) -> None:
    fault: Exception | None = None
    for kind, payload in _incoming(session):
        if kind == b"G":
            return
        if kind == b"E":
            fault = server_error(_fields(payload), session.target.label)
        if kind == b"Z":
            break
    raise fault or ProtocolViolationError(f"{session.target.label} did not accept rows")


def _drain(session: Session) -> tuple[int, Exception | None]:
    """Read up to ReadyForQuery: the count of rows and the error, if there was one."""
    announced = 0
    fault: Exception | None = None
    for kind, payload in _incoming(session):
        if kind == b"C":
            announced = _command_count(payload)
        elif kind == b"E":
            fault = server_error(_fields(payload), session.target.label)
        elif kind == b"Z":
            break
    return announced, fault


def _incoming(session: Session) -> Iterator[tuple[bytes, bytes]]:
    """The server's messages as they come, endless: the caller knows where to stop."""
    data = b""
    while True:
        try:
            data += session.buffered()
        except OSError as error:
            raise _broken(session) from error
        rest = 0
        for kind, payload, rest in _messages(data):  # noqa: B007 - where the last one ended
            yield kind, payload
        data = data[rest:]


def _send_query(session: Session, statement: str) -> None:
    _send(session, b"Q", statement.encode(session.python_encoding) + b"\x00")


def _send(session: Session, kind: bytes, payload: bytes) -> None:
    try:
        session.socket.sendall(_HEADER.pack(kind, len(payload) + 4))
        session.socket.sendall(payload)
    except OSError as error:  # ssl's errors are OSErrors too
        raise _broken(session) from error


def _broken(session: Session) -> ConnectionLostError:
    return ConnectionLostError(f"the session with {session.target.label} broke in the middle of a COPY")


def _messages(data: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """The whole messages in ``data``: kind, payload, and where the next one starts."""
    start = 0
    while len(data) - start >= 5:
        kind, length = _HEADER.unpack_from(data, start)
        end = start + 1 + length
        if len(data) < end:
            return
        yield kind, data[start + 5 : end], end
        start = end


def _fields(payload: bytes) -> dict[str, str]:
    pieces = payload.rstrip(b"\x00").split(b"\x00")
    return {p[:1].decode("ascii", "replace"): p[1:].decode("utf-8", "replace") for p in pieces if p}


def _command_count(payload: bytes) -> int:
    """The rows in a command tag such as ``COPY 42``."""
    return int(payload.rstrip(b"\x00").rpartition(b" ")[2])
