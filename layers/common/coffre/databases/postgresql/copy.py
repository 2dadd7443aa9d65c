"""The COPY pump: rows out of and into a server at the speed of its socket.

Out: plain rows go from the socket's bytes to the sink's memory by `coffre.databases.postgresql.frames`.
What stands between them (a notice in mid-stream, an error, a message of another kind) is parsed here, message
by message.  Rows above `LARGE_ROW` are handed on in pieces, never held.  At the end the server's own count of
rows decides.

In: a CopyData message may hold any number of bytes, so blocks are sent as they are.

Source: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from coffre.buffers import TextBuffer
from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.faults import server_error
from coffre.databases.postgresql.frames import HEADER, RowSink, stripper
from coffre.databases.postgresql.patience import PatientReader
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

_READY = b"Z\x00\x00\x00\x05"
_HEADER = struct.Struct(">cI")


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
    return CopyOut(session, sink).run(statement)


class CopyOut:
    """One COPY TO STDOUT.  ``_data`` always starts, exactly, with a message's header."""

    def __init__(self, session: Session, sink: RowSink) -> None:
        self._session = session
        self._reader = PatientReader(session)
        self._sink = sink
        self._where = session.target.label
        self._data = TextBuffer()
        self._strip = stripper()
        self._counted = 0
        self._announced: int | None = None
        self._fault: Exception | None = None

    def run(self, statement: str) -> int:
        try:
            with disk_full_named():  # a sink may write to scratch space
                _send_query(self._session, statement)
                self._await_start()
                with self._reader:
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
                    self._data.append(data[rest:])
                    return
                if self._control(kind, payload):
                    raise self._fault or ProtocolViolationError(f"{self._where} answered a COPY without rows")
            data = data[rest:]

    def _receive(self) -> None:
        """Gather a block, or less at the end of the stream, which a ReadyForQuery marks.

        A server that closes the session may have said why: that is taken in first.
        """
        room, filled = self._data.room(BLOCK), 0
        while filled < BLOCK:
            got = self._reader.read_into(room[filled:])
            if got == 0 and filled == 0:
                raise self._fault or ConnectionLostError(
                    f"{self._where} closed the session in the middle of a COPY"
                )
            filled += got
            self._data.add(got)
            if got == 0 or self._data.view(max(0, self._data.size - 6))[:5] == _READY:
                return
        self._reader.gather(self._counted)  # there are many rows, or large ones

    def _block(self) -> bool:
        """Hand on all that is whole in ``_data``; True when the stream has ended."""
        while True:
            taken, rows = self._strip(self._data.view(), LARGE_ROW, self._sink)
            self._data.drop(taken)
            self._counted += rows
            if self._others():
                return True
            length = self._large_row()
            if length is None:
                return False
            self._stream(length)

    def _others(self) -> bool:
        """Take the whole messages at the front, one by one, up to a large row; True at the stream's end."""
        ended, start = False, 0
        data = self._data.view()
        while not ended and len(data) - start >= HEADER:
            kind, length = _HEADER.unpack_from(data, start)
            if length < HEADER - 1:
                raise ProtocolViolationError(f"{self._where} sent a message shorter than its header")
            end = start + 1 + length
            if end > len(data) or (kind == b"d" and length - 4 > LARGE_ROW):
                break
            payload = bytes(data[start + HEADER : end])
            start = end
            if kind == b"d":
                self._row(payload)
            else:
                ended = self._control(kind, payload)
        self._data.drop(start)
        return ended

    def _large_row(self) -> int | None:
        """The bytes of the large row, with its newline, that stands first; None if there is none."""
        if self._data.size < HEADER:
            return None
        kind, length = _HEADER.unpack_from(self._data.view())
        return length - 4 if kind == b"d" and length - 4 > LARGE_ROW else None

    def _stream(self, length: int) -> None:
        self._data.drop(HEADER)
        self._counted += 1
        self._sink.large_row(self._pieces(length - 1))
        while not self._data.size:
            self._receive()
        if self._data.view()[0] != ord("\n"):
            raise ProtocolViolationError(f"{self._where} sent a row that doesn't end in a newline")
        self._data.drop(1)

    def _pieces(self, length: int) -> Iterator[bytes]:
        first = bytes(self._data.view(0, min(length, self._data.size)))
        self._data.drop(len(first))
        length -= len(first)
        yield first
        while length:
            room = self._data.room(min(BLOCK, length))
            got = self._reader.read_into(room)
            if got == 0:
                raise ConnectionLostError(f"{self._where} closed the session in the middle of a row")
            length -= got
            yield bytes(room[:got])

    def _row(self, text: bytes) -> None:
        """Take the payload of a CopyData message."""
        if text[-1:] != b"\n" or text.find(b"\n") != len(text) - 1 or b"\x00" in text:
            raise ProtocolViolationError(f"{self._where} sent a CopyData message that is not one row of text")
        self._counted += 1
        self._sink.room(len(text))[: len(text)] = text
        self._sink.take(len(text))

    def _control(self, kind: bytes, payload: bytes) -> bool:
        """Take a message that isn't a row; True for ReadyForQuery."""
        if kind == b"E":
            self._fault = server_error(_fields(self._session, payload), self._where)
        elif kind == b"C":
            self._announced = _command_count(payload)
        elif kind not in (b"Z", b"c", b"N", b"S", b"A"):
            raise ProtocolViolationError(f"{self._where} sent a message {kind!r} in the middle of a COPY")
        return kind == b"Z"


def copy_in(session: Session, statement: str, blocks: Iterable[bytes | bytearray]) -> int:
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


def run_script(session: Session, script: bytes) -> None:
    """Run several statements as one message, which the server does in one transaction.

    Parameters
    ----------
    script:
        In the session's client encoding, whatever that is; it goes to the server as it is.

    Raises
    ------
    CoffreError
        What fits the server's first error; nothing of the script stays.
    """
    _send(session, b"Q", script + b"\x00")
    fault: Exception | None = None
    for kind, payload in _incoming(session):
        if kind == b"E":
            fault = server_error(_fields(session, payload), session.target.label)
        elif kind == b"Z":
            break
    if fault is not None:
        raise fault


def _await_copy_in(session: Session) -> None:
    fault: Exception | None = None
    for kind, payload in _incoming(session):
        if kind == b"G":
            return
        if kind == b"E":
            fault = server_error(_fields(session, payload), session.target.label)
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
            fault = server_error(_fields(session, payload), session.target.label)
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
    payload = statement.encode(session.python_encoding) + b"\x00"
    # In one piece, or the server would wake up twice.
    _send_all(session, _HEADER.pack(b"Q", len(payload) + 4) + payload)


def _send(session: Session, kind: bytes, payload: bytes | bytearray) -> None:
    _send_all(session, _HEADER.pack(kind, len(payload) + 4), payload)


def _send_all(session: Session, *pieces: bytes | bytearray) -> None:
    try:
        for piece in pieces:
            session.socket.sendall(piece)
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


def _fields(session: Session, payload: bytes) -> dict[str, str]:
    pieces, codec = payload.rstrip(b"\x00").split(b"\x00"), session.python_encoding
    return {p[:1].decode("ascii", "replace"): p[1:].decode(codec, "replace") for p in pieces if p}


def _command_count(payload: bytes) -> int:
    """The rows in a command tag such as ``COPY 42``."""
    return int(payload.rstrip(b"\x00").rpartition(b" ")[2])
