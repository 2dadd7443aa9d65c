"""What comes back is what was there: every kind of content, between the versions, and nothing of it runs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from coffre.workers import ALONE_PIECES
from tests.support.postgres import create, dumped, sql, target, url
from tests.support.stack import Stack

RICH = Path(__file__).parent / "rich.sql"

HIJACK = Path(__file__).parent / "hijack.sql"


@pytest.mark.parametrize(("source", "targets"), [(16, (16, 18)), (18, (18,))])
def test_a_restore_into_the_same_or_a_newer_version_is_equal(
    stack: Stack,
    server16: EphemeralServer,
    server18: EphemeralServer,
    postgres_root: Path,
    source: int,
    targets: tuple[int, ...],
) -> None:
    servers = {16: server16, 18: server18}
    name = f"rich-{source}"
    made = create(servers[source], f"rich{source}", RICH.read_text())
    stack.register(name, url(servers[source], made.database))
    answer = stack.backup(name)
    stack.drain()
    proof = stack.told(name, "Proof")
    assert (proof.detail["reasons"], proof.type) == ([], "Proof Passed")
    assert proof.detail["compared"]["large_objects"] == 3
    assert stack.manifest(name).extensions[0].name == "plpgsql"
    expected = dumped(postgres_root, made)
    for major in targets:
        restored = f"{name} in {major}"
        result = stack.restore(name, url(servers[major], restored))
        assert (result["rows"], result["digests_equal"]) == (answer["rows"], True)
        assert dumped(postgres_root, target(servers[major], restored)) == expected
        if major == 18 and source == 16:
            sql(target(servers[major], restored), "DROP OWNED BY rich_owner, rich_reader CASCADE")
            sql(target(servers[major], restored), "DROP ROLE rich_owner, rich_reader")


def test_a_sequence_that_advances_during_the_backup_never_falls_behind_its_rows(
    stack: Stack, server16: EphemeralServer
) -> None:
    made = create(server16, "busy", "CREATE TABLE hits (id serial PRIMARY KEY, body text)")
    stack.register("busy", url(server16, "busy"))
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            sql(made, *["INSERT INTO hits (body) SELECT repeat('x', 50) FROM generate_series(1, 20)"] * 20)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backup = stack.backup("busy")
    finally:
        done.set()
        writer.join()
    stack.drain()
    assert stack.told("busy", "Proof").type == "Proof Passed"
    stack.restore("busy", url(server16, "busy_restored"))
    ((rows, highest, last),) = sql(
        target(server16, "busy_restored"),
        "SELECT count(*), max(id), (SELECT last_value FROM hits_id_seq) FROM hits",
    )
    assert rows == backup["rows"]
    assert last >= highest
    assert sql(made, "SELECT count(*) FROM hits") > [[rows]], "the writer went on during the backup"


def test_objects_that_take_the_place_of_built_in_ones_never_run(
    stack: Stack, server16: EphemeralServer
) -> None:
    made = create(server16, "hijacked", HIJACK.read_text())
    sql(made, "ALTER DATABASE hijacked SET search_path = public, pg_catalog")
    stack.register("hijacked", url(server16, "hijacked"))
    stack.backup("hijacked")
    stack.drain()
    assert stack.told("hijacked", "Proof").type == "Proof Passed"
    stack.call("health", database="hijacked")
    stack.restore("hijacked", url(server16, "hijacked_restored"))
    stack.register("hijacked", url(server16, "hijacked"), prove="never")
    stack.backup("hijacked")
    for name in ("hijacked", "hijacked_restored"):
        assert sql(target(server16, name), "SELECT how FROM public.pwned") == []


def test_a_plan_says_what_the_backup_then_does_and_writes_nothing(
    stack: Stack, server16: EphemeralServer
) -> None:
    create(
        server16,
        "planned",
        "CREATE TABLE kept AS SELECT n, repeat('x', 100) AS x FROM generate_series(1, 5000) n",
        "CREATE TABLE empty ()",
    )
    stack.register("planned", url(server16, "planned"), prove="never")
    made = stack.call("backup", action="plan", database="planned")
    assert stack.keys("planned/") == []
    assert sorted(made["listed"][0]["relations"]) == ["public.empty", "public.kept"]
    assert (made["where"], made["batches"], made["snapshot"]["tables"]) == ("function", 1, 2)
    answer = stack.backup("planned")
    assert made["relations"] == answer["relations"]
    assert made["bytes"] > answer["bytes"] * 0.8
    assert made["requests"]["s3 put"] >= answer["new_chunks"]


def test_a_backup_takes_its_leave_of_its_source(stack: Stack, server16: EphemeralServer) -> None:
    """A session that is just dropped is an error in the server's log, and worries its administrator."""
    made = create(
        server16, "polite", "CREATE TABLE one AS SELECT 1 AS n", "CREATE TABLE two AS SELECT 2 AS n"
    )
    stack.register("polite", url(server16, "polite"), prove="never")
    before = sql(made, "SELECT pg_read_file('server.log')")[0][0]
    stack.backup("polite")
    log = str(sql(made, "SELECT pg_read_file('server.log')")[0][0]).removeprefix(str(before))
    assert "unexpected EOF" not in log


def test_a_small_backup_has_one_worker_and_one_of_many_tables_has_two(
    stack: Stack, server16: EphemeralServer
) -> None:
    def parts_of(name: str) -> int:
        """Of a backup: the catalog's, and one of each worker that read anything."""
        made = stack.backup(name)
        return len([key for key in stack.keys(f"{name}/backups/{made['backup_id']}/") if "/parts/" in key])

    create(server16, "little", "CREATE TABLE one AS SELECT 1 AS n", "CREATE TABLE two AS SELECT 2 AS n")
    tables = "; ".join(f"CREATE TABLE t{number} ()" for number in range(ALONE_PIECES + 1))
    create(server16, "many", tables)
    for name in ("little", "many"):
        stack.register(name, url(server16, name), prove="never")
    assert (parts_of("little"), parts_of("many")) == (2, 3)
