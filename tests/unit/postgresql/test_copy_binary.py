"""Binary records arrive as the server sent them, however they come, or it is said what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.copy import LARGE_ROW
from coffre.databases.postgresql.copy_binary import copy_out_binary, with_frame
from coffre.errors import CoffreError, ConnectionLostError, ProtocolViolationError, RowCountMismatchError
from coffre.vault.rows import DigestSink
from tests.unit.postgresql.test_copy import (
    DONE,
    ERROR,
    NOTICE,
    OPENING,
    READY,
    Server,
    count,
    message,
    sliced,
)

FRAME = [bytes(piece) for piece in with_frame([])]
HEADER, END = FRAME[0], FRAME[-1]
records = st.lists(st.binary(min_size=1, max_size=40).map(lambda data: b"\0\3" + data), max_size=12)


class Received(DigestSink):
    """A sink that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[bytes] = []

    def record(self, record: bytes) -> None:
        self.all.append(record)


def payloads(sent: Sequence[bytes]) -> list[bytes]:
    """What a server's CopyData messages hold: the header comes with the first record."""
    first, *others = [*sent, END]
    return [HEADER + first, *others]


def stream(messages: Sequence[bytes], number: int) -> bytes:
    return OPENING + b"".join(message(b"d", one) for one in messages) + DONE + count(number) + READY


def pump(slices: Sequence[bytes], *, closes: bool = False) -> list[bytes]:
    received, server = Received(), Server(slices, closes=closes)
    assert copy_out_binary(cast("Session", server), "COPY t TO STDOUT", received) == len(received.all)
    return received.all


@given(sent=records, cuts=st.lists(st.integers(0, 2000), max_size=40))
@settings(max_examples=200)
def test_records_arrive_exactly_and_in_order_whatever_the_slices(sent: list[bytes], cuts: list[int]) -> None:
    assert pump(sliced(stream(payloads(sent), len(sent)), cuts)) == sent


def test_a_header_may_come_alone_and_notices_between() -> None:
    sent = [b"\0\3" + b"x" * 300_000, b"\0\3y"]
    messages = [message(b"d", HEADER), NOTICE, *(message(b"d", one) for one in [*sent, END])]
    assert pump([OPENING + b"".join(messages) + DONE + count(2) + READY]) == sent


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (stream([b"PGCOPY\n\0" + bytes(20), END], 1), ProtocolViolationError),
        (stream([HEADER[:-5] + b"\0\0\0\1\0", END], 0), ProtocolViolationError),
        (stream([HEADER + b"\0\3x"], 1), ProtocolViolationError),
        (stream([HEADER + b"\0\3x", END], 2), RowCountMismatchError),
        (OPENING + message(b"d", HEADER + b"\0\3x") + ERROR + READY, CoffreError),
        (stream([HEADER + bytes(3 * LARGE_ROW), END], 1), ProtocolViolationError),
    ],
)
def test_what_is_not_such_a_copy_is_told(data: bytes, error: type[CoffreError]) -> None:
    with pytest.raises(error):
        pump([data])


def test_a_session_that_breaks_is_told() -> None:
    with pytest.raises(ConnectionLostError):
        pump([stream([HEADER + b"\0\3x" * 50, END], 1)[:-30]], closes=True)


@given(sent=records)
def test_the_frame_makes_records_a_whole_again(sent: list[bytes]) -> None:
    assert b"".join(with_frame(sent)) == b"".join(payloads(sent))
