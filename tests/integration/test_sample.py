"""The sample database: the same content on every load, and the peculiarities that it is there for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pg8000.native
import pytest

from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.copy import copy_out
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.vault.rows import DigestSink

SAMPLE = Path(__file__).parents[2] / "demo" / "sample"
FILES = ("01-roles.sql", "02-schema.sql", "03-rows.sql", "04-after.sql")

SIZES = {
    "rental.price_calendar": 400_000,
    "rental.messages": 250_000,
    "rental.bookings": 90_000,
    "finance.payments": 80_000,
    "audit.events": 40_000,
    "audit.logins": 20_000,
    "rental.night_watches": 3,
    "rental.disputes": 0,
}
TOTAL_ROWS = 1_039_085

# A child by inheritance is read by itself; a partitioned root for all its leaves.
RELATIONS = """
    SELECT c.oid::regclass::text,
           CASE relkind WHEN 'r' THEN 'SELECT * FROM ONLY ' WHEN 'S' THEN 'SELECT last_value, is_called FROM '
                        ELSE 'SELECT * FROM ' END || c.oid::regclass,
           relkind IN ('r', 'p')
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm', 'S') AND NOT relispartition
      AND nspname IN ('rental', 'finance', 'audit', 'Legacy Import')
"""
LARGE_OBJECTS = "SELECT oid, sha256(lo_get(oid)) FROM pg_largeobject_metadata"


@dataclass(frozen=True)
class Content:
    """Rows, their bytes and their digest, in which their order doesn't matter."""

    count: int
    size: int
    digest: str


@dataclass(frozen=True)
class Load:
    """A server with the sample in its database ``sample``, and what that holds."""

    server: EphemeralServer
    content: dict[str, Content]


def session_with(server: EphemeralServer, database: str) -> Session:
    target = Target(str(server.socket_dir), server.port, server.superuser, database)
    return open_session(target, seconds=120)


def run_sql(server: EphemeralServer, database: str, sql: str) -> None:
    """Send the text as one simple query by a plain client: the library's sessions refuse to read views."""
    client = pg8000.native.Connection(
        server.superuser,
        unix_sock=f"{server.socket_dir}/.s.PGSQL.{server.port}",
        database=database,
        ssl_context=False,
    )
    try:
        client.run(sql)
    finally:
        client.close()


def run_file(server: EphemeralServer, database: str, name: str) -> None:
    run_sql(server, database, (SAMPLE / name).read_text(encoding="utf-8"))


def load(server: EphemeralServer, database: str) -> dict[str, Content]:
    run_sql(server, "postgres", f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8'")
    for name in FILES:
        run_file(server, database, name)
    return content_of(server, database)


def content_of(server: EphemeralServer, database: str) -> dict[str, Content]:
    contents: dict[str, Content] = {}
    with session_with(server, database) as session:
        queries = [(name, query) for name, query, _ in session.run(RELATIONS)]
        for name, query in [*queries, ("large objects", LARGE_OBJECTS)]:
            sink = DigestSink()
            count = copy_out(session, f"COPY ({query}) TO STDOUT", sink)
            contents[name] = Content(count, sink.bytes, sink.digest.hex())
    return contents


@pytest.fixture(scope="module")
def loads(postgres_root: Path, scratch_root: Path) -> Iterator[dict[int, Load]]:
    with (
        EphemeralServer.start(postgres_root, 16, scratch_root) as older,
        EphemeralServer.start(postgres_root, 18, scratch_root) as newer,
    ):
        yield {major: Load(server, load(server, "sample")) for major, server in ((16, older), (18, newer))}


def test_every_load_holds_the_same_content_whatever_the_version(loads: dict[int, Load]) -> None:
    assert loads[16].content == loads[18].content


def test_it_has_the_sizes_that_its_users_expect(loads: dict[int, Load]) -> None:
    contents = loads[16].content
    with session_with(loads[16].server, "sample") as session:
        tables = [name for name, _, is_table in session.run(RELATIONS) if is_table]

    assert {name: contents[name].count for name in SIZES} == SIZES
    assert sum(contents[name].count for name in tables) == TOTAL_ROWS
    assert contents["large objects"].count == 3


def test_a_leaf_has_its_columns_in_another_order_than_its_root(loads: dict[int, Load]) -> None:
    order = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = :t::regclass \
             AND attnum > 0 AND NOT attisdropped"
    with session_with(loads[16].server, "sample") as session:
        root = session.value(order, t="rental.bookings")
        leaf = session.value(order, t="rental.bookings_2026_03")

    assert sorted(root.split(",")) == sorted(leaf.split(","))
    assert root != leaf


def test_rows_came_in_before_the_triggers_that_change_them(loads: dict[int, Load]) -> None:
    with session_with(loads[16].server, "sample") as session:
        assert session.value("SELECT max(revision) FROM rental.members") == 0

        session.run("BEGIN; UPDATE rental.members SET born = NULL WHERE id = 1")
        assert session.value("SELECT revision FROM rental.members WHERE id = 1") == 1


def test_a_day_of_business_appends_and_the_accident_takes_the_bookings(loads: dict[int, Load]) -> None:
    server = loads[16].server
    run_sql(server, "postgres", "CREATE DATABASE changed TEMPLATE sample")
    run_file(server, "changed", "changes.sql")
    after = content_of(server, "changed")
    run_file(server, "changed", "accident.sql")

    assert after["rental.bookings"].count == 90_000 + 900
    assert after["rental.messages"].count == 250_000 + 2_500
    assert after["finance.payments"].count == 80_000 + 900
    assert after["audit.events"].count == 40_000 + 60
    assert "rental.bookings" not in content_of(server, "changed")
