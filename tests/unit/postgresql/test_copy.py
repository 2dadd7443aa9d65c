"""The COPY pump hands on exactly the server's rows, in order, however they come, or says what is wrong."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coffre.databases.postgresql import copy
from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    CoffreError,
    ConnectionLostError,
    ProtocolViolationError,
    QueryFailedError,
    RowCountMismatchError,
)

STATEMENT = "COPY t TO STDOUT"
ALWAYS_READABLE = os.open("/dev/zero", os.O_RDONLY)

pytestmark = pytest.mark.usefixtures("twin")


def message(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + (len(payload) + 4).to_bytes(4, "big") + payload


def row_message(row: bytes) -> bytes:
    return message(b"d", row + b"\n")


def count(number: int) -> bytes:
    return message(b"C", b"COPY %d\0" % number)


OPENING = message(b"H", b"\0\0\1\0\0")
READY = message(b"Z", b"I")
DONE = message(b"c")
NOTICE = message(b"N", b"SNOTICE\0C00000\0Mlook:\nd\0W\nd\0")
PARAMETER = message(b"S", b"TimeZone\0UTC\0")
NOTIFICATION = message(b"A", b"\0\0\0\x07channel\0\nd\0")
ERROR = message(b"E", b"SERROR\0C22012\0Mdivision by zero\0\0")


def stream(rows: Sequence[bytes]) -> bytes:
    return OPENING + b"".join(map(row_message, rows)) + DONE + count(len(rows)) + READY


def sliced(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted({cut % len(data) for cut in cuts} - {0}), len(data)]
    return [data[one:two] for one, two in itertools.pairwise(edges)]


class Server:
    """The client's side of a session whose server sends prepared bytes, in prepared slices.

    Asking for more than there is would hang on a real socket: it fails the test, unless ``closes``.
    """

    target = Target("/nowhere", 5432, "user", "shop")
    python_encoding = "utf-8"

    def __init__(self, slices: Sequence[bytes], *, closes: bool = False) -> None:
        self._slices = [memoryview(piece) for piece in slices if piece]
        self._closes = closes
        self.socket: object = self
        self._blocks = True
        self._is_there = False

    def sendall(self, data: bytes) -> None:
        assert data == message(b"Q", STATEMENT.encode() + b"\0")

    def gettimeout(self) -> float:
        return 1.0

    def settimeout(self, seconds: float) -> None:
        assert seconds == self.gettimeout()
        self._blocks = True

    def setblocking(self, flag: bool) -> None:
        self._blocks = flag

    def fileno(self) -> int:
        return ALWAYS_READABLE

    def recv_into(self, view: memoryview) -> int:
        assert len(view), "a read of nothing looks like a closed session"
        self._is_there = self._blocks or not self._is_there
        if not self._is_there:  # before each slice there is nothing for a while
            raise BlockingIOError
        if not self._slices:
            assert self._closes, "the pump waits for bytes that never come"
            return 0
        first = self._slices[0]
        size = min(len(first), len(view))
        view[:size] = first[:size]
        self._slices[0] = first[size:]
        if size == len(first):
            del self._slices[0]
        return size

    def buffered(self) -> bytes:
        view = memoryview(bytearray(1 << 16))
        size = self.recv_into(view)
        if not size:
            raise ConnectionLostError("closed")
        return bytes(view[:size])


class Received:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.all: list[bytes] = []
        self.large = 0
        self._room = bytearray()

    def room(self, size: int) -> memoryview:
        self._room = bytearray(size)
        return memoryview(self._room)

    def take(self, size: int) -> None:
        text = bytes(self._room[:size])
        assert text.endswith(b"\n")
        assert b"\0" not in text
        self.all += text[:-1].split(b"\n")

    def large_row(self, pieces: Iterator[bytes]) -> None:
        self.large += 1
        self.all.append(b"".join(pieces))


def pump(slices: Sequence[bytes], *, closes: bool = False) -> Received:
    """What the sink of a COPY gets.  The count that is returned must be the number of rows."""
    received = Received()
    server = Server(slices, closes=closes)
    assert copy.copy_out(cast("Session", server), STATEMENT, received) == len(received.all)
    assert server._blocks, "the driver's own reads would fail"
    return received


@contextmanager
def small_sizes(block: int, large: int) -> Iterator[None]:
    """Small sizes reach in a few bytes what real ones reach in megabytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copy, "BLOCK", block)
        patch.setattr(copy, "LARGE_ROW", large)
        yield


row_bytes = st.one_of(
    st.binary(max_size=24),
    st.sampled_from([b"", b"\\", b"\\.", b"\\N", b"d", b"c", b"Z", b"dd", b"COPY 3", b"\r", b"\xff\xfe"]),
).map(lambda row: row.replace(b"\0", b"0").replace(b"\n", b"n"))
sizes = st.tuples(st.integers(1, 80), st.integers(1, 60))
cut_places = st.lists(st.integers(0, 2000), max_size=40)


@given(rows=st.lists(row_bytes, max_size=12), cuts=cut_places, sizes=sizes)
@example(rows=[b""], cuts=[], sizes=(1, 1))
@settings(max_examples=400)
def test_rows_arrive_exactly_and_in_order_whatever_the_slices(
    rows: list[bytes], cuts: list[int], sizes: tuple[int, int]
) -> None:
    with small_sizes(*sizes):
        assert pump(sliced(stream(rows), cuts)).all == rows


@given(rows=st.lists(row_bytes, max_size=12), cuts=cut_places)
@settings(max_examples=150)
def test_rows_arrive_exactly_at_the_real_sizes(rows: list[bytes], cuts: list[int]) -> None:
    assert pump(sliced(stream(rows), cuts)).all == rows


@given(
    rows=st.lists(row_bytes, min_size=1, max_size=8),
    between=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([NOTICE, PARAMETER, NOTIFICATION])), max_size=4
    ),
    cuts=cut_places,
    sizes=sizes,
)
@settings(max_examples=400)
def test_messages_in_mid_stream_change_no_row(
    rows: list[bytes], between: list[tuple[int, bytes]], cuts: list[int], sizes: tuple[int, int]
) -> None:
    messages = [*map(row_message, rows), DONE, count(len(rows)), READY]
    for place, other in between:
        messages.insert(min(place, len(rows) + 1), other)
    with small_sizes(*sizes):
        assert pump(sliced(OPENING + b"".join(messages), cuts)).all == rows


@pytest.mark.parametrize("large", [8, 1 << 20])
@pytest.mark.parametrize("block", [16, 1 << 18])
def test_a_frame_may_be_cut_at_every_byte(block: int, large: int) -> None:
    rows = [b"one", b"", b"\\.", b"d" * 40, b"two\ttabs\t", b"x" * 17]
    data = NOTICE + stream(rows)
    with small_sizes(block, large):
        for cut in range(1, len(data)):
            assert pump([data[:cut], data[cut:]]).all == rows, cut
        assert pump([data[at : at + 1] for at in range(len(data))]).all == rows


@pytest.mark.parametrize("cut", range(-8, 0))
def test_the_end_of_the_stream_may_be_cut_where_a_block_ends(cut: int) -> None:
    size = copy.BLOCK - len(stream([b""])) + len(OPENING) - cut
    rows = [b"x" * size]
    data = stream(rows)
    assert len(data) - len(OPENING) + cut == copy.BLOCK
    assert pump([OPENING, data[len(OPENING) : cut], data[cut:]]).all == rows


def test_no_rows_and_rows_without_columns_are_fine() -> None:
    assert pump([stream([])]).all == []
    assert pump([stream([b""] * 100_000)]).all == [b""] * 100_000


def test_a_row_of_more_than_16_mib_is_streamed() -> None:
    # The length's last three bytes are "\nd\0"; its first isn't 0, as in any frame this long.
    huge = b"h" * (0x010A6400 - 5)
    for rows in ([huge], [b"small", huge, b"after"], [b"s" * 300_000, huge, huge]):
        received = pump(sliced(stream(rows), [7, 100_000, 20_000_000]))
        assert received.all == rows
        assert received.large == rows.count(huge)


@pytest.mark.parametrize("after", [[], [b"more"], [b""] * 3])
@pytest.mark.parametrize("before", [[], [b"less"], [b"l" * 262_000]])
def test_a_length_that_looks_like_a_boundary_is_not_one(before: list[bytes], after: list[bytes]) -> None:
    rows = [*before, b"r" * (0x0A6400 - 5), *after]
    assert b"\nd\0" in row_message(rows[len(before)])[1:6]
    for size in (1 << 18, 1 << 13, 99_991):
        data = stream(rows)
        assert pump([data[at : at + size] for at in range(0, len(data), size)]).all == rows


@pytest.mark.parametrize("size", [-2, -1, 0])
def test_rows_around_the_limit_of_large_ones_and_large_ones_in_a_row(size: int) -> None:
    row = b"q" * (copy.LARGE_ROW + size)
    rows = [row, row, b"", row]
    received = pump([stream(rows)])
    assert received.all == rows
    assert received.large == (3 if size == 0 else 0)


def test_how_a_row_is_handed_on_does_not_depend_on_the_slices() -> None:
    """Chunks must have the same ids at each backup: whether a row is large depends on its length only."""
    rows = [b"a" * n for n in (10, copy.LARGE_ROW - 1, copy.LARGE_ROW, 70_000, copy.LARGE_ROW + 1, 3)]
    data = stream(rows)
    for size in (1_000, 65_536, 262_143, len(data)):
        received = pump([data[at : at + size] for at in range(0, len(data), size)])
        assert (received.all, received.large) == (rows, 2)


@pytest.mark.parametrize(("block", "large"), [(16, 8), (1 << 18, 1 << 20)])
def test_a_session_that_closes_at_any_byte_is_lost_and_never_hangs(block: int, large: int) -> None:
    data = stream([b"one", b"", b"l" * 40, b"two"])
    with small_sizes(block, large):
        for end in range(len(data)):
            with pytest.raises(ConnectionLostError):
                pump([data[:end]], closes=True)


@given(rows=st.lists(row_bytes, max_size=6), cuts=cut_places, sizes=sizes)
@settings(max_examples=200)
def test_the_servers_error_is_raised_wherever_it_comes(
    rows: list[bytes], cuts: list[int], sizes: tuple[int, int]
) -> None:
    with small_sizes(*sizes):
        data = OPENING + b"".join(map(row_message, rows)) + ERROR + READY
        with pytest.raises(QueryFailedError, match=r"division by zero.*22012"):
            pump(sliced(data, cuts))


def test_a_server_that_falls_silent_is_lost_after_the_sessions_patience() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(0.05)
        session = Server([OPENING + row_message(b"one")])
        session.socket = here
        began = time.monotonic()
        with pytest.raises(ConnectionLostError):
            copy.copy_out(cast("Session", session), STATEMENT, Received())
        assert time.monotonic() - began >= 0.05
        assert here.gettimeout() == 0.05


def test_an_error_before_the_first_row_is_raised() -> None:
    with pytest.raises(QueryFailedError, match="division by zero"):
        pump([ERROR + READY])


def test_a_server_that_says_why_it_closes_is_quoted() -> None:
    fatal = message(b"E", b"SFATAL\0C25P04\0Mterminating connection due to transaction timeout\0\0")
    with pytest.raises(CoffreError, match="transaction timeout"):
        pump([OPENING + row_message(b"one") + fatal], closes=True)


@pytest.mark.parametrize("announced", [0, 2, 4])
def test_another_count_than_the_servers_is_an_error(announced: int) -> None:
    data = OPENING + row_message(b"a") * 3 + DONE + count(announced) + READY
    with pytest.raises(RowCountMismatchError, match=f"3 rows arrived, the server counted {announced}"):
        pump([data])


@pytest.mark.parametrize(
    "foreign",
    [
        message(b"D", b"\0\1\0\0\0\1x"),
        message(b"T", b"\0\0"),
        message(b"G", b"\0\0\0"),
        message(b"d", b"half a row"),
        message(b"d", b""),
        message(b"d", b"nul\0nul\n"),
        message(b"d", b"two\nrows\0\n"),
        message(b"d", b"two\nrows\n"),
        b"d\0\0\0\x09long\nd\0\0\0\x05",
        b"d\0\0\0\x03",
        b"N\0\0\0\0",
    ],
)
def test_anything_but_rows_of_text_is_a_violation(foreign: bytes) -> None:
    data = OPENING + row_message(b"a") + foreign + row_message(b"b") + DONE + count(2) + READY
    with pytest.raises(ProtocolViolationError):
        pump([data])


def test_two_rows_in_one_message_do_not_pass_as_one() -> None:
    data = OPENING + message(b"d", b"one\ntwo\n") + DONE + count(2) + READY
    with pytest.raises(ProtocolViolationError):
        pump([data])


def test_a_large_row_that_does_not_end_in_a_newline_is_a_violation() -> None:
    row = message(b"d", b"x" * (copy.LARGE_ROW + 10))
    with pytest.raises(ProtocolViolationError, match="newline"):
        pump([OPENING + row + DONE + count(1) + READY])


def test_a_statement_that_answers_without_a_copy_is_a_violation() -> None:
    with pytest.raises(ProtocolViolationError):
        pump([count(0) + READY])
