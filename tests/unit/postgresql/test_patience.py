"""A reader that lets bytes gather, but not for so long that their sender stands still."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.patience import LARGE_BYTES, PAUSE_SECONDS, SHORT_SECONDS, PatientReader


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's end, and a client's that gives up after a moment."""
    there, here = socket.socketpair()
    with there, here:
        here.settimeout(0.01)
        yield there, here


def reading(here: socket.socket) -> PatientReader:
    return PatientReader(cast("Session", SimpleNamespace(socket=here)))


def pause_after(ends: tuple[socket.socket, socket.socket], rows: int, size: int) -> float:
    """Of a reader that was told of so many rows in so many bytes."""
    there, here = ends
    room = memoryview(bytearray(size))
    with reading(here) as reader:
        there.sendall(bytes(size))
        while size:
            size -= reader.read_into(room)
        reader.gather(rows)
        return reader.pause


def test_nobody_pauses_who_was_not_told_that_more_is_to_come(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    there, here = ends
    room = memoryview(bytearray(64))
    with reading(here) as reader:
        for text in (b"one", b"two"):
            there.sendall(text)
            assert room[: reader.read_into(room)] == text
        assert reader.pause == 0


@pytest.mark.parametrize("row", [80, 500, LARGE_BYTES // 2])
def test_rows_are_waited_for_until_many_are_there(
    ends: tuple[socket.socket, socket.socket], row: int
) -> None:
    assert pause_after(ends, 65536 // row, 65536) == PAUSE_SECONDS


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_large_rows_are_waited_for_less(ends: tuple[socket.socket, socket.socket], rows: int) -> None:
    assert pause_after(ends, rows, 65536) == SHORT_SECONDS


def test_a_reader_that_gathers_still_gives_up_when_nothing_comes(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    with reading(ends[1]) as reader:
        reader.gather(1)
        with pytest.raises(TimeoutError):
            reader.read_into(memoryview(bytearray(8)))
    assert ends[1].gettimeout() == 0.01
