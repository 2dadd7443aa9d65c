"""Two databases change their names together or not at all, whoever is connected and whenever the run dies."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from coffre.databases.postgresql import exchange
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.exchange import Exchange, exchange_names
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.standing import Mark, put_aside, read_mark, without_mark, write_mark
from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError, ConnectionLostError, QueryFailedError, SessionsRemainError
from tests.support.postgres import create, customer_server, databases, sql, target
from tests.support.waiting import soon

SECONDS = 60.0


@pytest.fixture(scope="module")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """A customer's server."""
    with customer_server(postgres_root, 16, scratch_root) as made:
        yield made


@pytest.fixture
def names(server: EphemeralServer) -> Iterator[Exchange]:
    """An old and a new database."""
    for name, content in (("shop", "old"), ("shop_new", "new")):
        create(server, name, f"CREATE TABLE content AS SELECT '{content}' AS what")
    oids = dict(sql(target(server, "postgres"), "SELECT datname::text, oid::int8 FROM pg_database"))
    mark = write_mark("ours", Mark("shop", oids["shop"], oids["shop_new"], "2026", "swap"))
    yield Exchange("shop", oids["shop"], "shop_old", (oids["shop_new"], "shop_new"), {"shop_old": mark})
    for name in databases(server) & {"shop", "shop_new", "shop_old"}:
        sql(target(server, "postgres"), f'DROP DATABASE "{name}" WITH (FORCE)')


def content(server: EphemeralServer, name: str = "shop") -> str:
    """What an application finds under a name."""
    return str(sql(target(server, name), "SELECT what FROM content")[0][0])


def run_of_statements(monkeypatch: pytest.MonkeyPatch, at: int, act: Any, *, after: bool) -> None:
    """Let ``act`` happen before or after the statement number ``at`` of the session that renames."""
    real, seen = Session.run, iter(range(1000))
    main = threading.current_thread()

    def run(session: Session, statement: str, **parameters: Any) -> list[list[Any]]:
        counts = threading.current_thread() is main and statement.startswith(
            ("BEGIN", "ALTER", "COMMENT", "SELECT datname", "COMMIT")
        )
        hit = counts and next(seen) == at
        if hit and not after:
            act(session)
        rows = real(session, statement, **parameters)
        if hit and after:
            act(session)
        return rows

    monkeypatch.setattr(Session, "run", run)


STEPS = 6  # BEGIN, two renames, a comment, the check of the OIDs, COMMIT


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(STEPS))
def test_killed_at_any_statement_one_of_them_bears_the_name_and_a_rerun_ends_it(
    server: EphemeralServer, names: Exchange, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    child = os.fork()
    if child == 0:  # no cleanup of any kind runs in here
        try:
            run_of_statements(monkeypatch, at, lambda _: os._exit(9), after=after)
            exchange_names(target(server, "postgres"), names, seconds=SECONDS)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    done = at == STEPS - 1 and after
    assert content(server) == ("new" if done else "old")
    assert databases(server) & {"shop_new", "shop_old"} == ({"shop_old"} if done else {"shop_new"})
    if not done:
        exchange_names(target(server, "postgres"), names, seconds=SECONDS)
    assert (content(server), content(server, "shop_old")) == ("new", "old")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(STEPS))
def test_a_session_that_breaks_leaves_the_old_name_or_the_whole_exchange(
    server: EphemeralServer, names: Exchange, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    def broken(session: Session) -> NoReturn:
        session._connection._usock.shutdown(socket.SHUT_RDWR)
        raise ConnectionLostError("the network broke")

    run_of_statements(monkeypatch, at, broken, after=after)
    try:
        exchange_names(target(server, "postgres"), names, seconds=SECONDS)
        done = True
    except CoffreError:
        done = False
    monkeypatch.undo()
    assert done == (at == STEPS - 1 and after), "an exchange that was committed is no failure"
    assert content(server) == ("new" if done else "old")


def test_sessions_are_ended_and_new_ones_find_the_new_database(
    server: EphemeralServer, names: Exchange
) -> None:
    stop, seen, failures = threading.Event(), list[list[str]](), list[CoffreError]()
    threads: list[threading.Thread] = []

    def application(mine: list[str]) -> None:
        while not stop.is_set():
            try:
                with open_session(target(server, "shop"), seconds=SECONDS) as session:
                    while not stop.is_set():
                        mine.append(session.value("SELECT what FROM public.content"))
            except CoffreError as error:
                failures.append(error)

    for _ in range(3):
        seen.append([])
        threads.append(threading.Thread(target=application, args=(seen[-1],)))
        threads[-1].start()
    soon(lambda: all(seen), "three sessions")
    exchange_names(target(server, "postgres"), names, seconds=SECONDS)
    soon(lambda: all(mine[-1] == "new" for mine in seen), "three others")
    stop.set()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine, reverse=True) for mine in seen), "once new, never old again"
    assert all(mine[0] == "old" for mine in seen)
    assert len(failures) >= 3, "sessions were ended"


def test_sessions_that_may_not_be_ended_are_named_and_nothing_changes(
    server: EphemeralServer, names: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "TRIES", 1)
    sql(target(server, "postgres"), "DROP ROLE IF EXISTS weak", "CREATE ROLE weak LOGIN CREATEDB")
    for name in ("shop", "shop_new"):
        sql(target(server, "postgres"), f"ALTER DATABASE {name} OWNER TO weak")
    where = target(server, "postgres")
    weak = Target(where.host, where.port, "weak", "postgres", sslmode="disable")
    with open_session(target(server, "shop"), seconds=SECONDS) as busy:
        with pytest.raises(SessionsRemainError, match="customer"):
            exchange_names(weak, names, seconds=SECONDS)
        assert busy.value("SELECT what FROM public.content") == "old"
    assert content(server) == "old"
    exchange_names(weak, names, seconds=SECONDS)
    assert content(server) == "new"


def test_a_database_that_was_exchanged_by_somebody_else_meanwhile_stays(
    server: EphemeralServer, names: Exchange
) -> None:
    sql(target(server, "postgres"), "ALTER DATABASE shop RENAME TO shop_old")
    create(server, "shop", "CREATE TABLE content AS SELECT 'somebody else' AS what")
    sql(target(server, "postgres"), "ALTER DATABASE shop_old RENAME TO other")
    with pytest.raises(QueryFailedError, match="bear the names"):
        exchange_names(target(server, "postgres"), names, seconds=SECONDS)
    assert content(server) == "somebody else"
    sql(target(server, "postgres"), "DROP DATABASE other")


def test_the_mark_finds_the_database_that_was_put_aside(server: EphemeralServer, names: Exchange) -> None:
    exchange_names(target(server, "postgres"), names, seconds=SECONDS)
    with open_session(target(server, "postgres"), seconds=SECONDS) as session:
        ((standing, mark),) = put_aside(session, "shop")
        assert put_aside(session, "sho%") == []
    assert (standing.name, mark.replaced_by) == ("shop_old", names.incoming[0])
    assert without_mark(standing.comment) == "ours"


@pytest.mark.parametrize("comment", [None, "", "coffre: nonsense", "coffre: {}", "coffre: [1]", "ours"])
def test_a_comment_of_the_owners_is_no_mark(comment: str | None) -> None:
    assert read_mark(comment) is None
