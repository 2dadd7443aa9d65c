"""A reader that waits for bytes to gather, but not so long that their sender stands still."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.patience import LEAST_SECONDS, LITTLE, MOST_SECONDS, MUCH, PatientReader

MANY = 20


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's end, and a client's: between two bursts the server is silent until that one gives up."""
    there, here = socket.socketpair()
    with there, here:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MUCH)
        here.settimeout(0.001)
        yield there, here


def bursts(ends: tuple[socket.socket, socket.socket], sizes: list[int]) -> list[float]:
    """Read bursts of so many bytes, each after a wait of its own; how long the next wait will be."""
    there, here = ends
    reader = PatientReader(cast("Session", SimpleNamespace(socket=here)))
    reader.gathers = True
    room, pauses = memoryview(bytearray(1 << 20)), []
    with reader:
        for size in sizes:
            there.sendall(bytes(size))
            left = size
            while left:
                left -= reader.read_into(room)
            with pytest.raises(TimeoutError):
                reader.read_into(room)
            pauses.append(reader.pause)
    return pauses


def test_who_finds_much_waits_for_less(ends: tuple[socket.socket, socket.socket]) -> None:
    pauses = bursts(ends, [MUCH + 1] * MANY)
    assert pauses[0] < MOST_SECONDS
    assert pauses == sorted(pauses, reverse=True)
    assert pauses[-1] == LEAST_SECONDS


def test_who_finds_little_waits_for_longer_again(ends: tuple[socket.socket, socket.socket]) -> None:
    pauses = bursts(ends, [MUCH + 1] * MANY + [LITTLE - 1] * MANY)[MANY:]
    assert pauses[0] > LEAST_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == MOST_SECONDS


def test_who_finds_something_between_stays_with_it(ends: tuple[socket.socket, socket.socket]) -> None:
    pauses = bursts(ends, [MUCH + 1, *[(LITTLE + MUCH) // 2] * MANY])
    assert len(set(pauses)) == 1


def test_a_reader_that_does_not_gather_takes_what_is_there(ends: tuple[socket.socket, socket.socket]) -> None:
    there, here = ends
    room = memoryview(bytearray(64))
    there.sendall(b"one")
    with PatientReader(cast("Session", SimpleNamespace(socket=here))) as reader:
        assert room[: reader.read_into(room)] == b"one"
        there.sendall(b"two")
        assert room[: reader.read_into(room)] == b"two"
