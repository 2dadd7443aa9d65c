"""A schema is restored on every try, and a server isn't said to lack what it has."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.dump import dump_schema
from coffre.databases.postgresql.objects import list_needs, missing_needs
from coffre.databases.postgresql.schema import SchemaArchive
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools
from coffre.errors import ConnectionLostError
from tests.support.postgres import create, customer_server, sql
from tests.support.waiting import soon

LAYERS = """
CREATE TABLE top (id int PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE one PARTITION OF top FOR VALUES IN (1) PARTITION BY LIST (id);
CREATE TABLE two PARTITION OF top FOR VALUES IN (2) PARTITION BY LIST (id);
CREATE TABLE one_one PARTITION OF one FOR VALUES IN (1);
CREATE TABLE two_two PARTITION OF two FOR VALUES IN (2);
CREATE TABLE child (id int REFERENCES top);
"""
FED = """
CREATE SUBSCRIPTION fed CONNECTION 'host=far.invalid' PUBLICATION p WITH (connect = false, slot_name = 'far');
COMMENT ON SUBSCRIPTION fed IS 'from afar';
"""
SLOW = """
CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(77); RETURN 1; END';
CREATE TABLE rows (id int);
CREATE INDEX slow ON rows (slow(id));
CREATE INDEX second ON rows (id);
CREATE INDEX third ON rows (id);
"""
ATTACHED = 4
INVALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"


class WatchedTools(Tools):
    """Keeps which entries each run of pg_restore was given, and in how many sessions."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.runs: list[tuple[bool, set[int]]] = []

    def run(self, name: Any, major: int, arguments: Any, *rest: Any, **options: Any) -> bytes:
        for argument in arguments:
            if argument.startswith("--use-list="):
                chosen = Path(argument.partition("=")[2]).read_text().split()
                several = any(given.startswith("--jobs=") for given in arguments)
                self.runs.append((several, {int(line.rstrip(";")) for line in chosen}))
        return super().run(name, major, arguments, *rest, **options)


def dumped_archive(tools: Tools, source: Target, target: Target, path: Path) -> SchemaArchive:
    """The schema archive of a database, to be restored into another one."""
    deadline = time.monotonic() + 240
    with open_session(source, seconds=60) as session:
        session.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
        snapshot = str(session.value("SELECT pg_export_snapshot()"))
        dump_schema(tools, 16, source, snapshot, path, deadline=deadline, lock_seconds=60)
    return SchemaArchive(tools, 16, path, target, deadline)


@pytest.fixture(scope="module")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    with customer_server(postgres_root, 16, scratch_root) as started:
        yield started


def test_indexes_of_several_levels_are_attached_by_one_session(
    server: EphemeralServer, postgres_root: Path, tmp_path: Path
) -> None:
    """Two sessions would, now and then, leave the topmost index invalid."""
    source, target = create(server, "layers", LAYERS), create(server, "layers_again")
    tools = WatchedTools(postgres_root)
    archive = dumped_archive(tools, source, target, tmp_path / "schema")
    archive.before_rows()
    tools.runs.clear()

    assert archive.indexes(4) == []

    attachments = {entry.dump_id for entry in archive.entries() if entry.description == "INDEX ATTACH"}
    assert len(attachments) == ATTACHED
    assert [chosen for several, chosen in tools.runs if not several] == [attachments]
    assert sql(target, INVALID) == [[0]]


def test_subscriptions_come_after_all_else_because_they_hold_the_sources_slot(
    server: EphemeralServer, postgres_root: Path, tmp_path: Path
) -> None:
    source, target = create(server, "subscribed", LAYERS, FED), create(server, "subscribed_again")
    tools = WatchedTools(postgres_root)
    archive = dumped_archive(tools, source, target, tmp_path / "schema")
    archive.before_rows()
    tools.runs.clear()

    assert archive.indexes(4) == []

    fed = {entry.dump_id for entry in archive.entries() if "SUBSCRIPTION" in entry.description + entry.name}
    assert len(fed) == 2
    assert tools.runs[-1] == (False, fed)
    assert sql(target, "SELECT obj_description(oid) FROM pg_subscription WHERE subslotname = 'far'") == [
        [None],
        ["from afar"],
    ]


class CutOffTools(Tools):
    """Loses the session of the first runs of pg_restore that go on after errors."""

    def __init__(self, root: Path, target: Target, times: int) -> None:
        super().__init__(root)
        self._target = target
        self._times = times

    def run(self, name: Any, major: int, arguments: Any, *rest: Any, **options: Any) -> bytes:
        if "--verbose" not in arguments or not self._times:
            return super().run(name, major, arguments, *rest, **options)
        self._times -= 1
        end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
        with ThreadPoolExecutor() as threads, open_session(self._target, seconds=240) as gate:
            gate.run("SELECT pg_advisory_lock(77)")  # for which the index waits
            restoring = threads.submit(super().run, name, major, arguments, *rest, **options)
            soon(lambda: gate.run(end), "an index that is built")
            return restoring.result()


@pytest.mark.parametrize(("times", "lost"), [(1, False), (2, True)], ids=["once", "twice"])
def test_a_session_that_is_lost_is_not_told_as_indexes_that_can_not_be_restored(
    server: EphemeralServer, postgres_root: Path, tmp_path: Path, times: int, lost: bool
) -> None:
    """pg_restore goes on, and complains about each entry that it has no session for any more."""
    source, target = create(server, f"cut_{times}", SLOW), create(server, f"cut_{times}_again")
    tools = CutOffTools(postgres_root, target, times)
    archive = dumped_archive(tools, source, target, tmp_path / "schema")
    archive.before_rows()
    sql(target, "INSERT INTO rows VALUES (1)")
    if lost:
        with pytest.raises(ConnectionLostError, match="pg_restore"):
            archive.indexes(2)
    else:
        assert archive.indexes(2) == []
        assert sql(target, "SELECT count(*) FROM pg_indexes WHERE tablename = 'rows'") == [[3]]


def test_what_is_made_and_cannot_be_given_to_its_owner_is_told_by_that_reason(
    server: EphemeralServer, postgres_root: Path, tmp_path: Path
) -> None:
    """Tried again, the server would only say that it is there."""
    roles = "CREATE ROLE maker LOGIN; CREATE ROLE shut; GRANT shut TO maker"
    source = create(server, "published", roles, "CREATE TABLE t (a int, b int); ALTER TABLE t OWNER TO maker")
    sql(source, "CREATE PUBLICATION p; ALTER PUBLICATION p OWNER TO shut")
    sql(source, "CREATE STATISTICS s ON a, b FROM t; ALTER STATISTICS s OWNER TO shut")
    target = create(server, "published_again", "ALTER DATABASE published_again OWNER TO maker")
    made = replace(target, user="maker")
    archive = dumped_archive(Tools(postgres_root), source, made, tmp_path / "schema")
    archive.before_rows()
    messages = [complaint.message for complaint in archive.indexes(2)]
    assert messages == [
        "ERROR: permission denied for schema public",
        "ERROR: permission denied for database published_again",
    ]


def test_a_library_that_the_server_has_is_no_lack(server: EphemeralServer) -> None:
    handler = "RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'"
    source = create(server, "libraries", f"CREATE FUNCTION own_handler() {handler}")
    with open_session(source, seconds=60) as session:
        needs = list_needs(session, "c")
        assert needs == ["library:$libdir/plpgsql", "superuser:language c"]
        assert missing_needs(session, needs, []) == []
        assert missing_needs(session, ["library:$libdir/ghost"], []) == ["library:$libdir/ghost"]


def test_a_library_that_the_role_may_not_load_is_a_lack(server: EphemeralServer) -> None:
    made = create(server, "unprivileged", "CREATE ROLE plain LOGIN")
    with open_session(made, seconds=60) as session:
        session.run("SET ROLE plain")
        assert missing_needs(session, ["library:$libdir/plpgsql"], []) == ["library:$libdir/plpgsql"]
