"""Some tables of a backup come back in a schema of their own, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coffre.databases.postgresql.rebuild import Rebuild
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    CoffreError,
    QueryFailedError,
    RestoreExceptionsError,
    RestoreMismatchError,
    TablesNotMovableError,
    TargetLacksError,
    TargetNotEmptyError,
    UnknownTablesError,
)
from coffre.results import Finding, RestoreResult
from tests.fakes.store import MemoryStore
from tests.support.postgres import create, databases, dumped, sql, target
from tests.support.vault import Verbs

SHOP = (Path(__file__).parent / "shop.sql").read_text()


@pytest.fixture(scope="module")
def shop(server16: EphemeralServer) -> Target:
    """The database whose tables come back."""
    return create(server16, "moving", SHOP)


@pytest.fixture(scope="module")
def verbs(shop: Target, postgres_root: Path, scratch_root: Path) -> Iterator[Verbs]:
    """The verbs with a backup of the shop."""
    made = Verbs(MemoryStore(), postgres_root, scratch_root)
    made.backup(shop)
    yield made


def rescue(verbs: Verbs, where: Target, *tables: str, into: str = "rescue", **more: str) -> RestoreResult:
    return verbs.restore(where, mode="tables", tables=list(tables), into=into, **more)


@pytest.fixture(autouse=True)
def nothing_else_changes(
    shop: Target, server16: EphemeralServer, postgres_root: Path, verbs: Verbs
) -> Iterator[None]:
    """Whatever a test does: without the new schema the database is what it was."""
    before, names = dumped(postgres_root, shop), databases(server16)
    yield
    sql(shop, "DROP SCHEMA IF EXISTS rescue CASCADE")
    assert dumped(postgres_root, shop) == before
    assert databases(server16) == names


def rows(where: Target, schema: str, table: str) -> list[list[object]]:
    """A table's rows as text: two types of one name aren't comparable, but their text is."""
    return sql(where, f"SELECT t::text FROM {schema}.{table} AS t ORDER BY 1")


def test_tables_come_back_beside_the_ones_that_are_there(verbs: Verbs, shop: Target) -> None:
    result = rescue(verbs, shop, "shop.customers", "shop.orders", "shop.days")
    assert (result.mode, result.into, result.rows, result.digests_equal) == ("tables", "rescue", 1100, True)
    assert [f.object for f in result.findings if f.code == "left-out"] == [
        "grants on table shop.customers",
        "policy shop.customers own",
        "trigger shop.customers noted",
    ]
    for table in ("customers", "orders", "days"):
        assert rows(shop, "rescue", table) == rows(shop, "shop", table)
    made = "INSERT INTO rescue.customers (born) VALUES (7) RETURNING id, mood::text, doubled"
    assert sql(shop, made) == [[501, "fine", 14]]
    assert sql(shop, "INSERT INTO rescue.orders (customer) VALUES (501) RETURNING id") == [[301]]
    for refused in (
        "INSERT INTO rescue.orders (customer) VALUES (9999)",
        "INSERT INTO rescue.customers (born) VALUES (-1)",
        "INSERT INTO rescue.customers (born, mood) VALUES (1, 'poor')",
        "INSERT INTO rescue.days VALUES (1, '2030-01-01')",
    ):
        with pytest.raises(CoffreError):
            sql(shop, refused)
    types = (
        "SELECT typname FROM pg_type WHERE typnamespace = 'rescue'::regnamespace AND typtype IN ('e', 'd')"
    )
    assert sql(shop, f"{types} ORDER BY 1") == [["mood"], ["positive"]]
    assert sql(shop, "SELECT obj_description('rescue.customers'::regclass)") == [["who buys"]]
    assert sql(shop, "SELECT obj_description('rescue.customers_mood_idx'::regclass)") == [
        ["to find the poor"]
    ]
    assert sql(shop, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'rescue'") == [[5]]
    attached = (
        "SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = 'rescue.days_26_pkey'::regclass"
    )
    assert sql(shop, attached) == [["rescue.days_pkey"]]
    lost = "INSERT INTO shop.orders OVERRIDING SYSTEM VALUE SELECT r.* FROM rescue.orders r "
    lost += "WHERE r.id <= 300 AND NOT EXISTS (SELECT FROM shop.orders o WHERE o.id = r.id)"
    sql(shop, "DELETE FROM shop.orders WHERE id BETWEEN 7 AND 9", lost)
    acl = "SELECT relacl FROM pg_class WHERE oid = 'rescue.customers'::regclass"
    assert sql(shop, acl) == [[None]]


def test_what_lies_in_the_schema_beside_the_table_comes_along(verbs: Verbs, shop: Target) -> None:
    """Ranges with their multiranges, free sequences, collations, extended statistics."""
    rescue(verbs, shop, "shop.kept", "shop.customers")
    assert rows(shop, "rescue", "kept") == rows(shop, "shop", "kept")
    assert sql(shop, "INSERT INTO rescue.kept DEFAULT VALUES RETURNING id") == [[8]]
    named = """
        SELECT typname FROM pg_type WHERE typnamespace = 'rescue'::regnamespace AND typtype IN ('r', 'm')
        UNION ALL SELECT stxname FROM pg_statistic_ext WHERE stxnamespace = 'rescue'::regnamespace
        UNION ALL SELECT collname FROM pg_collation WHERE collnamespace = 'rescue'::regnamespace
        ORDER BY 1"""
    assert sql(shop, named) == [["both"], ["plain"], ["span"], ["spans"]]


def test_what_an_exclusion_constraint_takes_comes_from_an_extension_and_children_are_named(
    server16: EphemeralServer, postgres_root: Path, scratch_root: Path
) -> None:
    rooms = create(
        server16,
        "rooms",
        "CREATE EXTENSION btree_gist",
        "CREATE TABLE booked (room int, at tsrange, EXCLUDE USING gist (room WITH =, at WITH &&))",
        "INSERT INTO booked VALUES (1, '[2020-01-01,2020-01-02)'), (2, '[2020-01-01,2020-01-02)')",
        "CREATE TABLE special (why text) INHERITS (booked); INSERT INTO special VALUES (3, NULL, 'x')",
    )
    verbs = Verbs(MemoryStore(), postgres_root, scratch_root)
    verbs.backup(rooms)
    result = rescue(verbs, rooms, "public.booked")
    assert [found.object for found in result.findings] == ["table public.special"]
    assert sql(rooms, "SELECT count(*) FROM rescue.booked") == [[2]]
    with pytest.raises(QueryFailedError, match="exclusion constraint"):
        sql(rooms, "INSERT INTO rescue.booked SELECT * FROM rescue.booked")
    sql(target(server16, "postgres"), "DROP DATABASE rooms WITH (FORCE)")


def test_a_table_comes_back_after_it_was_lost(verbs: Verbs, server16: EphemeralServer) -> None:
    """Into another database, where neither schema nor types are, under the old schema's own name."""
    empty = create(server16, "lost and found")
    try:
        assert rescue(verbs, empty, 'shop."odd ""name.1"', "shop.moods", into="shop").rows == 91
        assert sql(empty, 'SELECT "a b" FROM shop."odd ""name.1"') == [["x\ty"]]
        assert sql(empty, "SELECT sum(n), count(*) FROM shop.moods") == [[4095, 90]]
    finally:
        sql(target(server16, "postgres"), 'DROP DATABASE "lost and found" WITH (FORCE)')


def test_foreign_keys_to_what_stays_out_are_left_out_and_named(verbs: Verbs, shop: Target) -> None:
    result = rescue(verbs, shop, "shop.orders")
    assert [f.object for f in result.findings] == ["fk constraint shop.orders orders_customer_fkey"]
    assert result.findings[0].message == "fk constraint shop.orders orders_customer_fkey stays out"
    assert sql(shop, "INSERT INTO rescue.orders (customer) VALUES (9999) RETURNING id") == [[301]]


@pytest.mark.parametrize(
    ("table", "error", "named"),
    [
        ("shop.coded", TablesNotMovableError, "function shop.one()"),
        ("shop.heir", TablesNotMovableError, "table shop.base"),
        ("shop.days_26", TablesNotMovableError, "table shop.days"),
        ("shop.names", UnknownTablesError, "shop.names (it is a view)"),
        ("shop.custommers", UnknownTablesError, "shop.custommers (near it: shop.customers)"),
        ("customers", UnknownTablesError, "customers (near it: shop.customers)"),
    ],
)
def test_what_cannot_come_along_is_refused_by_name(
    verbs: Verbs, shop: Target, table: str, error: type[CoffreError], named: str
) -> None:
    with pytest.raises(error) as refused:
        rescue(verbs, shop, table)
    assert named in refused.value.message


def test_rows_that_break_a_constraint_stop_it_unless_that_is_accepted(verbs: Verbs, shop: Target) -> None:
    asked = ("shop.customers", "shop.visits")
    with pytest.raises(RestoreExceptionsError, match="visits_customer_fkey"):
        rescue(verbs, shop, *asked)
    result = rescue(verbs, shop, *asked, exceptions="accept")
    assert ["visits_customer_fkey" in f.object for f in result.exceptions] == [True]
    assert (result.digests_equal, rows(shop, "rescue", "visits")) == (True, rows(shop, "shop", "visits"))


def test_without_a_name_the_schema_tells_the_time_of_the_backup(verbs: Verbs, shop: Target) -> None:
    result = verbs.restore(shop, mode="tables", tables=["shop.orders"])
    time = verbs.manifest().id.partition("-")[0]
    assert result.into == f"restored_{time.lower()}"
    assert rows(shop, result.into, "orders") == rows(shop, "shop", "orders")
    sql(shop, f"DROP SCHEMA {result.into} CASCADE")


def test_a_schema_that_exists_is_never_written_to(verbs: Verbs, shop: Target) -> None:
    with pytest.raises(TargetNotEmptyError, match="shop already"):
        rescue(verbs, shop, "shop.orders", into="shop")


def test_where_nothing_can_be_sent_a_publication_of_all_tables_is_no_hindrance(
    verbs: Verbs, shop: Target
) -> None:
    sql(shop, "CREATE PUBLICATION everything FOR ALL TABLES")
    assert rescue(verbs, shop, "shop.customers").rows == 500
    sql(shop, "DROP PUBLICATION everything")


def test_a_role_that_may_not_is_told_what_it_lacks(verbs: Verbs, shop: Target) -> None:
    sql(shop, "CREATE ROLE visitor LOGIN")
    with pytest.raises(TargetLacksError, match=r"CREATEDB.*CREATE on the database"):
        rescue(verbs, replace(shop, user="visitor"), "shop.orders")
    sql(shop, "DROP ROLE visitor")


def test_an_ordinary_role_owns_what_it_brought_back(verbs: Verbs, shop: Target) -> None:
    sql(shop, "CREATE ROLE helper LOGIN CREATEDB; GRANT CREATE ON DATABASE moving TO helper")
    rescue(verbs, replace(shop, user="helper"), "shop.customers")
    owners = (
        "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'rescue'::regnamespace"
    )
    assert sql(shop, owners) == [["helper"]]
    sql(shop, "DROP SCHEMA rescue CASCADE; REVOKE CREATE ON DATABASE moving FROM helper; DROP ROLE helper")


def test_a_restore_that_fails_leaves_nothing(
    verbs: Verbs, shop: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Finding(level="refuse", code="content-differs", object="t", message="rows differ")
    monkeypatch.setattr(Rebuild, "compare", lambda *_: ([found], 1, 1))
    with pytest.raises(RestoreMismatchError, match="rows differ"):
        rescue(verbs, shop, "shop.orders")
    schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'rescue' OR nspname LIKE 'coffre%'"
    assert sql(shop, schemas) == [[0]]
