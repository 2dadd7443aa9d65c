"""A restore's steps, one by one: however often they die, pass on or come twice, the outcome is the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.connection import Session, identifier, open_session
from coffre.databases.postgresql.exchange import exchange_names
from coffre.databases.postgresql.roles import read_database
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools
from coffre.errors import RestoreMismatchError, RowsLostError, SessionsRemainError
from coffre.restore import finish, steps
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.store import MemoryStore
from tests.fakes.tables import TABLE
from tests.integration.scale.desk import RELATED, TABLES, VIEWS_ALLOWED, content
from tests.integration.scale.steps import Hand, KilledError, dying
from tests.support.encodings import create_named, named, names_in
from tests.support.postgres import (
    RestartedServer,
    create,
    customer_server,
    databases,
    dumped,
    no_sessions_left,
    sql,
    target,
)
from tests.support.vault import Verbs

MORE = """
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TABLE hashed (m mood, n int, twice int GENERATED ALWAYS AS (n * 2) STORED) PARTITION BY HASH (m);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed (m, n) SELECT (enum_range(NULL::mood))[1 + n % 2], n FROM generate_series(1, 50) n;
CREATE FUNCTION watched() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN IF tg_tag LIKE 'DROP%' THEN RAISE 'nothing is dropped here'; END IF; END $$;
CREATE EVENT TRIGGER watch ON ddl_command_start EXECUTE FUNCTION watched();
COMMENT ON EVENT TRIGGER watch IS 'theirs';
SELECT lo_from_bytea(0, 'larger'), lo_from_bytea(0, decode(repeat('00ab12', 3000000), 'hex'));
COMMENT ON DATABASE whole IS 'a comment';
"""


class World:
    """A database, its backup, and restores of it by hand."""

    def __init__(self, server: EphemeralServer, root: Path, scratch: Path) -> None:
        self.server = server
        self.root = root
        self.catalogue = Catalogue(MemoryDynamo(), TABLE)
        self.verbs = Verbs(MemoryStore(), root, scratch, self.catalogue)
        self.source = create(server, "whole", VIEWS_ALLOWED, RELATED, MORE)
        self.verbs.backup(self.source)
        self.expected = dumped(root, self.source)

    def hand(self, name: str) -> Hand:
        """A restore into a new database."""
        return Hand(self.verbs, self.catalogue, target(self.server, name))

    def assert_whole(self, where: Target) -> None:
        """It is as the source is, and nothing of the restore is left."""
        assert leaves_apart(where) == leaves_apart(self.source)
        assert dumped(self.root, where) == self.expected
        assert sql(where, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [[0]]
        assert sql(where, "SELECT evtname, obj_description(oid) FROM pg_event_trigger") == [
            ["watch", "theirs"]
        ]
        working = f"{where.database}_restoring_"
        assert not [name for name in databases(self.server) if name.startswith(working)]
        assert no_sessions_left(self.server)


@pytest.fixture(scope="module")
def world(server: EphemeralServer, postgres_root: Path, scratch_root: Path) -> Iterator[World]:
    yield World(server, postgres_root, scratch_root)


def leaves_apart(where: Target) -> dict[str, Any]:
    """The content, without the leaves of a table whose rows lie elsewhere where an enum has other OIDs."""
    return {name: found for name, found in content(where).items() if not name.startswith("public.hashed_")}


def comment(server: EphemeralServer, name: str) -> str:
    """A database's comment."""
    asked = f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{name}'"
    return str(sql(target(server, "postgres"), asked)[0][0])


def test_a_worker_that_begins_one_piece_at_a_time_comes_to_the_end(world: World) -> None:
    hand = world.hand("piecemeal")
    assert hand.confirm().status == "started"
    answer = hand.go()
    assert (answer["status"], answer["where"], answer["digests_equal"]) == ("completed", "machine", True)
    assert answer["rows"] == TABLES * 500 + 301 + 50
    assert hand.calls.count("rows") > TABLES
    assert hand.calls.count("late") > 2 * TABLES
    world.assert_whole(hand.wanted)
    assert comment(world.server, "piecemeal") == "a comment"
    state = hand.catalogue.ledger("shop", hand.token[:12]).read()
    assert state is not None
    assert (state.state, state.rows) == ("committed", answer["rows"])
    assert not hand.live()


def test_large_objects_are_compared_in_ranges(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which each worker takes some, and the sums are what was recorded."""
    monkeypatch.setattr(steps, "PIECE_BYTES", 1 << 20)
    hand = world.hand("ranges")
    hand.working_seconds = 60.0
    hand.confirm()
    answer = hand.go()
    assert (answer["status"], answer["digests_equal"]) == ("completed", True)
    assert hand.calls.count("digests") > 8, "one object has 9 MB"
    state = hand.catalogue.ledger("shop", hand.token[:12]).read()
    assert state is not None
    assert state.done == state.total > 9_000_000
    world.assert_whole(hand.wanted)


@pytest.mark.parametrize(
    ("encoding", "commented"), [("LATIN1", r"\xe0 toi"), ("SQL_ASCII", "à toi")], ids=["LATIN1", "SQL_ASCII"]
)
def test_names_of_another_encoding_come_back_byte_for_byte(
    server: EphemeralServer, postgres_root: Path, scratch_root: Path, encoding: str, commented: str
) -> None:
    """A role that is made again bears the bytes by which objects, settings and the database call it."""
    catalogue = Catalogue(MemoryDynamo(), TABLE)
    verbs = Verbs(MemoryStore(), postgres_root, scratch_root, catalogue)
    name = f"in {encoding}"
    source, database = create_named(server, encoding, name), f"DATABASE {identifier(name)}"
    with open_session(source, seconds=60) as session:
        role = identifier(f"{names_in(encoding)[0].decode(session.python_encoding)} {name}")
        session.run(f"ALTER ROLE {role} IN {database} SET shop.greeting = 'ça'")
        session.run(f"ALTER {database} OWNER TO {role}; COMMENT ON {database} IS 'à toi'")
        belongings = read_database(session)
    expected = named(source)
    verbs.backup(source)
    sql(source, f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")
    hand = Hand(verbs, catalogue, target(server, f"{name} again"))
    hand.working_seconds = 60.0
    hand.confirm()
    answer = hand.go()
    assert (answer["status"], answer["digests_equal"]) == ("completed", True)
    assert named(hand.wanted) == expected
    with open_session(hand.wanted, seconds=60) as session:
        assert read_database(session) == replace(belongings, comment=commented)
    told = {one["code"] for one in answer["findings"]}
    assert told == {"role-created"} | ({"comment-escaped"} if "\\" in commented else set())
    assert comment(server, f"{name} again") == commented


@pytest.mark.parametrize(("kind", "deaths"), [(Session, 5), (Tools, 2)])
def test_killed_at_any_moment_and_started_again_it_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: type, deaths: int
) -> None:
    """At statements and programs from first to last: no row comes twice, no name is given too early."""
    real, seen = kind.run, [0]  # type: ignore[attr-defined]
    counted = world.hand(f"counted by {kind.__name__}")
    counted.working_seconds = 60.0
    counted.confirm()
    monkeypatch.setattr(kind, "run", dying(0, real, seen))
    counted.go()
    calls = seen[0]
    for number in range(deaths):
        hand = world.hand(f"killed at {kind.__name__} {number}")
        hand.working_seconds = 60.0
        monkeypatch.setattr(kind, "run", real)
        hand.confirm()
        monkeypatch.setattr(kind, "run", dying(calls - number * (calls - 1) // (deaths - 1), real, [0]))
        with pytest.raises(KilledError) as died:
            hand.go()
        monkeypatch.setattr(kind, "run", real)
        if hand.wanted.database in databases(world.server):
            world.assert_whole(hand.wanted)
        hand.fail(died.value)
        assert not hand.live()
        assert hand.resume().status == "started"
        assert hand.go()["status"] == "completed"
        world.assert_whole(hand.wanted)
        sql(target(world.server, "postgres"), f'DROP DATABASE "{hand.wanted.database}"')


def test_a_step_whose_answer_was_lost_is_done_again_without_harm(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even the last one, in whose way is by then what the database's own event triggers forbid."""
    hand = world.hand("repeated")
    hand.working_seconds = 60.0
    hand.confirm()
    once, refused = hand.step, [SessionsRemainError("sessions could not be ended")]

    def busy(*arguments: Any, **named: Any) -> None:
        if refused:
            raise refused.pop()
        exchange_names(*arguments, **named)

    def twice(name: str, **more: Any) -> dict[str, Any]:
        with suppress(SessionsRemainError):
            once(name, **more)
        return once(name, **more)

    monkeypatch.setattr(finish, "exchange_names", busy)
    monkeypatch.setattr(hand, "step", twice)
    assert hand.go()["status"] == "completed"
    assert not refused
    world.assert_whole(hand.wanted)


def test_an_index_that_goes_missing_is_noticed_though_the_notes_have_indexes_of_their_own(
    server: EphemeralServer, postgres_root: Path, scratch_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = Catalogue(MemoryDynamo(), TABLE)
    verbs = Verbs(MemoryStore(), postgres_root, scratch_root, catalogue)
    verbs.backup(create(server, "indexed", "CREATE TABLE t AS SELECT 1 AS n", "CREATE INDEX single ON t (n)"))
    hand = Hand(verbs, catalogue, target(server, "unindexed"))
    hand.confirm()
    once = hand.step

    def losing(name: str, **more: Any) -> dict[str, Any]:
        if name == "check":
            (working,) = (name for name in databases(server) if name.startswith("unindexed_restoring_"))
            sql(target(server, working), "DROP INDEX single")
        return once(name, **more)

    monkeypatch.setattr(hand, "step", losing)
    with pytest.raises(RestoreMismatchError, match="valid_indexes: 0, expected 1"):
        hand.go()


@pytest.mark.parametrize("crashing", ["loaded", "check"])
def test_a_crash_that_emptied_unlogged_tables_ends_the_restore_and_says_so(
    postgres_root: Path, scratch_root: Path, monkeypatch: pytest.MonkeyPatch, crashing: str
) -> None:
    catalogue = Catalogue(MemoryDynamo(), TABLE)
    verbs = Verbs(MemoryStore(), postgres_root, scratch_root, catalogue)
    with customer_server(postgres_root, 16, scratch_root, kind=RestartedServer) as server:
        verbs.backup(create(server, "shop", "CREATE TABLE t (n int)", "CREATE UNLOGGED TABLE u AS SELECT 1"))
        hand = Hand(verbs, catalogue, target(server, "crashed"))
        hand.confirm()
        once, steps_done = hand.step, list[str]()

        def crash(name: str, **more: Any) -> dict[str, Any]:
            if name == crashing and name not in steps_done:
                server.crash()
            steps_done.append(name)
            return once(name, **more)

        monkeypatch.setattr(hand, "step", crash)
        with pytest.raises(RowsLostError, match=r"unlogged tables: public\.u\."):
            hand.go()
        assert "crashed" not in databases(server)
