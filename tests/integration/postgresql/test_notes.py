"""What a restore notes in the database that it fills: nothing is done twice, whoever repeats or dies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.copy import copy_in
from coffre.databases.postgresql.dump import dump_schema
from coffre.databases.postgresql.late import LateTask
from coffre.databases.postgresql.notes import Compared, Notes, build_unlimited, notes_schema, only_one
from coffre.databases.postgresql.readback import Expected
from coffre.databases.postgresql.schema import SchemaArchive
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools, dump_major
from coffre.errors import ConnectionLostError, LockNotGrantedError
from coffre.vault.parts import Column, Relation
from tests.support.postgres import create, customer_server, sql
from tests.support.waiting import soon

ATTEMPT = "0123456789ab"
HOSTILE = 'a"b\\c\n\té\U0001f4a3'
ROWS = [b"1\n2\n", b"3\n"]
WAIT = """CREATE FUNCTION wait(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql
AS 'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock($1); RETURN true; END'"""
SLOW = b"CREATE INDEX slow ON public.t (public.wait(77));"
"""It waits at the first row as long as somebody holds that lock."""
WAITING = "SELECT FROM pg_locks WHERE NOT granted AND locktype = '{}'"


@pytest.fixture(scope="module", params=[14, 18])
def server(
    request: pytest.FixtureRequest, postgres_root: Path, scratch_root: Path
) -> Iterator[EphemeralServer]:
    """The oldest server and the newest one."""
    with customer_server(postgres_root, request.param, scratch_root) as made:
        yield made


@pytest.fixture
def where(server: EphemeralServer, request: pytest.FixtureRequest) -> Target:
    """A database of the test's own, with notes."""
    made = create(server, request.node.name[:60], "CREATE TABLE t (i int)")
    with session(made) as one:
        Notes(one, ATTEMPT).create([Expected(HOSTILE, relation(), 3, 2**128 - 1, "ab")])
    return made


def relation() -> Relation:
    """A table with a name that is hard to write down."""
    return Relation(7, "table", HOSTILE, "t\udce9", "me", (Column("i", "integer"),))


def session(where: Target) -> Session:
    """A session of a function's."""
    return open_session(where, seconds=60, application="tests")


def load(one: Session) -> int:
    """Load three rows."""
    return copy_in(one, "COPY public.t FROM STDIN", ROWS)


def test_what_is_expected_is_read_back_as_it_was(where: Target) -> None:
    with session(where) as one:
        ((number, found),) = Notes(one, ATTEMPT).expected()
        assert (number, found.rows, found.digest, found.generated) == (0, 3, 2**128 - 1, "ab")
        assert found.relation == relation()
        assert list(Notes(one, ATTEMPT).expected(1)) == []


def test_a_run_that_is_doubled_at_the_same_time_is_loaded_once(where: Target) -> None:
    with session(where) as one, session(where) as two, ThreadPoolExecutor(1) as threads:
        doubled: list[Future[bool]] = []

        def slowly() -> None:
            doubled.append(threads.submit(Notes(two, ATTEMPT).load_once, 1, 4, 3, lambda: load(two)))
            load(one)
            soon(lambda: sql(where, WAITING.format("transactionid")), "who waits for the first one's end")
            assert not doubled[0].done()

        assert Notes(one, ATTEMPT).load_once(1, 4, 3, slowly)
        assert not doubled[0].result()
        assert Notes(one, ATTEMPT).loaded(1) == {4}
        assert Notes(one, ATTEMPT).loaded_in_all() == (1, 3)
    assert sql(where, "SELECT count(*) FROM t") == [[3]]


def test_a_worker_that_dies_in_the_middle_leaves_neither_rows_nor_a_note(where: Target) -> None:
    one = session(where)

    def die() -> None:
        load(one)
        one.socket.shutdown(2)

    with pytest.raises(ConnectionLostError):
        Notes(one, ATTEMPT).load_once(1, 0, 3, die)
    with session(where) as two:
        assert Notes(two, ATTEMPT).loaded(1) == set()
        assert Notes(two, ATTEMPT).load_once(1, 0, 3, lambda: load(two))
    assert sql(where, "SELECT count(*) FROM t") == [[3]]


def test_stretches_of_pages_add_up_and_count_once(where: Target) -> None:
    with session(where) as one:
        notes = Notes(one, ATTEMPT)
        for page, digest in ((0, "f" * 32), (128, "2"), (0, "5")):
            notes.note_compared(3, page, 10, digest.rjust(32, "0"), "")
        assert notes.compared() == {3: Compared(20, 1, 0)}
        assert notes.count_compared(3, 4, 128) == 1
        assert notes.count_compared(0, 9, 256) == 0


def test_an_index_outlives_its_function_and_who_comes_after_waits_for_it(where: Target) -> None:
    sql(where, "INSERT INTO t VALUES (1)", WAIT)
    one = session(where)
    build_unlimited(one)
    with session(where) as gate, session(where) as two, ThreadPoolExecutor(2) as threads:
        gate.run("SELECT pg_advisory_lock(77)")
        lost = threads.submit(Notes(one, ATTEMPT).build_once, 9, SLOW)
        soon(lambda: sql(where, WAITING.format("advisory")), "an index that is built")
        one.socket.shutdown(2)
        with pytest.raises(ConnectionLostError):
            lost.result()
        build_unlimited(two)
        after = threads.submit(Notes(two, ATTEMPT).build_once, 9, b"SELECT 1/0;")
        soon(lambda: sql(where, WAITING.format("transactionid")), "who comes after")
        gate.run("SELECT pg_advisory_unlock(77)")
        assert not after.result()
    assert sql(where, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'slow'::regclass") == [[True]]


def test_only_one_function_does_a_step(where: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coffre.databases.postgresql.notes.EXCLUSIVE_SECONDS", 1)
    with session(where) as one, session(where) as two:
        only_one(one, ATTEMPT)
        with pytest.raises(LockNotGrantedError):
            only_one(two, ATTEMPT)
        only_one(two, "ba9876543210")


def test_facts_change_and_all_notes_go_at_the_end(where: Target) -> None:
    with session(where) as one:
        notes = Notes(one, ATTEMPT)
        assert notes.fact("large_objects") is None
        notes.note("large_objects", "é")
        notes.note("large_objects", "done")
        assert notes.fact("large_objects") == "done"
        assert notes.exist()
        notes.drop()
        assert not notes.exist()
    assert not sql(where, f"SELECT FROM pg_namespace WHERE nspname = '{notes_schema(ATTEMPT)}'")


def test_entries_are_built_as_pg_restore_would_and_what_the_server_refuses_is_noted(
    server: EphemeralServer, where: Target, postgres_root: Path, tmp_path: Path
) -> None:
    source = create(
        server,
        "late_source",
        "CREATE TABLE t (i int PRIMARY KEY); CREATE INDEX t_i ON t (i)",
        "CREATE STATISTICS s ON i, (i + 1) FROM t",
        r"""COMMENT ON INDEX t_i IS E'\\restrict x\n\\unrestrict é'""",
    )
    tools, deadline = Tools(postgres_root), time.monotonic() + 240
    tools_major = dump_major(server.major)
    with open_session(source, seconds=60) as one:
        one.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
        snapshot = str(one.value("SELECT pg_export_snapshot()"))
        dump_schema(tools, tools_major, source, snapshot, tmp_path / "a", deadline=deadline, lock_seconds=60)
    archive = SchemaArchive(tools, tools_major, tmp_path / "a", where, deadline)
    sql(where, "INSERT INTO t VALUES (1), (1)", "ALTER TABLE t ALTER i SET NOT NULL")
    setup = {
        "target": vars(where),
        "seconds": 60,
        "attempt": ATTEMPT,
        "tools": str(postgres_root),
        "major": archive.major,
        "archive": str(archive.path),
        "deadline": deadline,
        "options": [],
    }
    late = {entry.dump_id: entry for entry in archive.late()}
    for _ in range(2):
        task = LateTask(setup)
        for number in late:
            task.run({"entry": number, "subscription": False})
        task.finish()
    with session(where) as two:
        built = Notes(two, ATTEMPT).built()
    refused = {late[number].description for number, complaint in built.items() if complaint}
    assert refused == {"CONSTRAINT"}
    assert built.keys() == late.keys()
    assert sql(where, "SELECT obj_description('t_i'::regclass)") == [["\\restrict x\n\\unrestrict é"]]
