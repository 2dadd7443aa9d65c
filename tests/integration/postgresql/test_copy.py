"""The pump against real servers: what goes in comes out, and what fails leaves a session that works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.copy import LARGE_ROW, copy_in, copy_out
from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError, ConnectionLostError, QueryFailedError
from tests.support.postgres import create, customer_server

pytestmark = pytest.mark.usefixtures("twin")

ROWS = [b"", b"\\N", b"\\\\.", b"\\t\\n", "é🐘".encode(), b"d\x7f", b"x" * 5_000, b"COPY 3"]


class Received:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.all: list[bytes] = []

    def room(self, size: int) -> memoryview:
        self._room = bytearray(size)
        return memoryview(self._room)

    def take(self, size: int) -> None:
        self.all += bytes(self._room[: size - 1]).split(b"\n")

    def large_row(self, pieces: Iterator[bytes]) -> None:
        self.all.append(b"".join(pieces))


@pytest.fixture(scope="module", params=[16, 18])
def shop(request: pytest.FixtureRequest, postgres_root: Path, scratch_root: Path) -> Iterator[Target]:
    with customer_server(postgres_root, request.param, scratch_root) as server:
        yield create(server, "shop", "CREATE TABLE words (word text); CREATE TABLE bare ()")


@pytest.fixture
def session(shop: Target) -> Iterator[Session]:
    with open_session(shop, seconds=60) as session:
        session.run("TRUNCATE public.words, public.bare")
        yield session


def load(session: Session, *blocks: bytes) -> int:
    return copy_in(session, "COPY public.words FROM STDIN", blocks)


def read(session: Session, statement: str = "COPY public.words TO STDOUT") -> list[bytes]:
    received = Received()
    assert copy_out(session, statement, received) == len(received.all)
    return received.all


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_rows_sent_in_any_blocks_come_back_in_order(session: Session, size: int) -> None:
    text = b"".join(row + b"\n" for row in ROWS)
    assert load(session, *(text[at : at + size] for at in range(0, len(text), size))) == len(ROWS)
    assert read(session) == ROWS


def test_values_far_above_a_message_of_16_mib_come_back(session: Session) -> None:
    rows = [b"small", b"h" * (20 << 20), b"h" * LARGE_ROW, b"", b"last" * (1 << 19)]
    assert load(session, *(row + b"\n" for row in rows)) == len(rows)
    assert read(session) == rows


def test_no_rows_and_rows_without_columns(session: Session) -> None:
    assert load(session) == 0
    assert read(session) == []
    assert copy_in(session, "COPY public.bare FROM STDIN", [b"\n\n\n"]) == 3
    assert read(session, "COPY public.bare TO STDOUT") == [b""] * 3


def test_many_rows_come_in_the_order_of_the_server(session: Session) -> None:
    assert read(
        session, "COPY (SELECT n, repeat('x', n % 99) FROM generate_series(1, 200000) n) TO STDOUT"
    ) == [b"%d\t%s" % (n, b"x" * (n % 99)) for n in range(1, 200_001)]


def test_notices_among_the_rows_change_none(session: Session) -> None:
    session.run(
        """CREATE OR REPLACE FUNCTION public.tell(n int) RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN IF n % 7 = 0 THEN RAISE NOTICE E'look:\nd % \nd', n; END IF; RETURN n; END $$"""
    )
    rows = read(session, "COPY (SELECT public.tell(n) FROM generate_series(1, 20000) n) TO STDOUT")
    assert rows == [b"%d" % n for n in range(1, 20_001)]


@pytest.mark.parametrize("at", [1, 50_000])
def test_an_error_among_the_rows_is_the_servers(shop: Target, at: int) -> None:
    with open_session(shop, seconds=60) as session, pytest.raises(QueryFailedError, match="division by zero"):
        read(session, f"COPY (SELECT 1 / ({at} - n) FROM generate_series(1, 60000) n) TO STDOUT")


def test_a_session_that_is_ended_among_the_rows_is_lost(shop: Target) -> None:
    statement = "COPY (SELECT n, CASE n WHEN 50000 THEN pg_terminate_backend(pg_backend_pid()) END "
    with open_session(shop, seconds=60) as session, pytest.raises(ConnectionLostError):
        read(session, f"{statement} FROM generate_series(1, 60000) n) TO STDOUT")


@pytest.mark.parametrize("blocks", [[b"1\tsurplus\n"], [b"one\n", b"\\xff\n", b"two\n" * 500_000]])
def test_rows_that_the_server_refuses_leave_the_session_usable(session: Session, blocks: list[bytes]) -> None:
    with pytest.raises(CoffreError, match="SQLSTATE 22"):
        load(session, *blocks)
    assert session.value("SELECT count(*) FROM public.words") == 0
    assert load(session, b"fine\n") == 1


@pytest.mark.parametrize("error", [ValueError("mine"), OSError("a disk, not the network")])
def test_blocks_that_break_off_cancel_the_copy_and_their_error_goes_on(
    session: Session, error: Exception
) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"one\n"
        raise error

    with pytest.raises(type(error), match=str(error)):
        copy_in(session, "COPY public.words FROM STDIN", blocks())
    assert session.value("SELECT count(*) FROM public.words") == 0
    assert load(session, b"fine\n") == 1


def test_a_statement_that_is_refused_before_any_row_leaves_the_session_usable(session: Session) -> None:
    with pytest.raises(CoffreError):
        copy_in(session, "COPY public.missing FROM STDIN", [b"one\n"])
    assert load(session, b"fine\n") == 1
