"""Some tables come back with all that they are made of; the rest is named, or stands in the way."""

from __future__ import annotations

import pytest

from coffre.databases.postgresql.toc import TocEntry
from coffre.errors import TablesNotMovableError, UnknownTablesError
from coffre.restore.selection import Selection, select
from coffre.restore.table_names import parse_table

SCHEMA, OTHER, EXTENSION, TYPE, CUSTOMERS, ORDERS, SEQUENCE, FUNCTION, TWIN = range(1, 10)


def entry(dump_id: int, description: str, tag: str, *needs: int, schema: str = "shop") -> TocEntry:
    """An object of an archive."""
    return TocEntry(dump_id, 0, 0, tag, description, 2, schema, "", "owner", needs)


TOC = [
    entry(SCHEMA, "SCHEMA", "shop", schema=""),
    entry(OTHER, "SCHEMA", "other", schema=""),
    entry(EXTENSION, "EXTENSION", "citext", schema=""),
    entry(TYPE, "TYPE", "mood", SCHEMA),
    entry(CUSTOMERS, "TABLE", "customers", SCHEMA, TYPE, EXTENSION),
    entry(SEQUENCE, "SEQUENCE", "customers_id_seq", SCHEMA, CUSTOMERS),
    entry(ORDERS, "TABLE", "Orders", SCHEMA),
    entry(FUNCTION, "FUNCTION", "one()", SCHEMA),
    entry(TWIN, "TABLE", "customers", OTHER, schema="other"),
    entry(20, "SEQUENCE OWNED BY", "customers_id_seq", SEQUENCE, CUSTOMERS),
    entry(21, "DEFAULT", "customers id", CUSTOMERS, SEQUENCE),
    entry(22, "CONSTRAINT", "customers customers_pkey", CUSTOMERS),
    entry(23, "COMMENT", "CONSTRAINT customers_pkey ON customers", 22),
    entry(24, "FK CONSTRAINT", "Orders orders_fkey", 22, CUSTOMERS, ORDERS),
    entry(25, "COMMENT", "SCHEMA shop", SCHEMA, schema=""),
    entry(26, "ACL", "SCHEMA shop", SCHEMA, schema=""),
    entry(27, "ACL", "TABLE customers", CUSTOMERS),
    entry(28, "ACL", "SEQUENCE customers_id_seq", SEQUENCE),
    entry(29, "TRIGGER", "customers noted", CUSTOMERS, FUNCTION),
    entry(30, "VIEW", "names", SCHEMA, CUSTOMERS),
    entry(31, "INDEX", "customers_by_mood", CUSTOMERS),
    entry(32, "INDEX", "orders_by_day", ORDERS),
]


def chosen(*tables: str, more: tuple[TocEntry, ...] = ()) -> Selection:
    return select([*TOC, *more], tables)


def test_what_a_table_is_made_of_comes_along_and_nothing_else() -> None:
    found = chosen("shop.customers")
    assert found.entries == {SCHEMA, EXTENSION, TYPE, CUSTOMERS, SEQUENCE, 20, 21, 22, 23, 31}
    assert found.tables == {("shop", "customers")}
    assert found.sequences == {("shop", "customers_id_seq")}
    assert found.extensions == ("citext",)
    assert found.comes_along == (
        "comment on constraint shop.customers_pkey ON customers",
        "constraint shop.customers customers_pkey",
        "default shop.customers id",
        "index shop.customers_by_mood",
        "sequence shop.customers_id_seq",
        "table shop.customers",
        "type shop.mood",
    )


def test_what_is_tied_to_a_table_and_stays_out_is_named() -> None:
    assert chosen("shop.customers").left_out == (
        "grants on sequence shop.customers_id_seq",
        "grants on table shop.customers",
        "trigger shop.customers noted",
    )


def test_a_foreign_key_comes_along_only_with_the_table_that_it_points_to() -> None:
    alone, both = chosen("shop.Orders"), chosen("shop.Orders", "shop.customers")
    assert (alone.left_out, 24 in alone.entries) == (("fk constraint shop.Orders orders_fkey",), False)
    assert "fk constraint shop.Orders orders_fkey" in both.comes_along
    assert {CUSTOMERS, ORDERS, 24} <= both.entries


def test_code_of_the_owners_stands_in_the_way() -> None:
    uses = entry(40, "DEFAULT", "Orders id", ORDERS, FUNCTION)
    with pytest.raises(TablesNotMovableError, match=r"function shop\.one\(\)"):
        chosen("shop.Orders", more=(uses,))


def test_partitions_come_with_their_root_and_not_without() -> None:
    partitions = (
        entry(40, "TABLE", "days", SCHEMA),
        entry(41, "TABLE", "days_26", SCHEMA),
        entry(42, "TABLE ATTACH", "days_26", 41, 40),
        entry(43, "INDEX", "days_pkey", 40),
        entry(44, "INDEX", "days_26_pkey", 41),
        entry(45, "INDEX ATTACH", "days_26_pkey", 44, 43),
    )
    found = chosen("shop.days", more=partitions)
    assert found.entries == {SCHEMA, 40, 41, 42, 43, 44, 45}
    assert found.tables == {("shop", "days"), ("shop", "days_26")}
    with pytest.raises(TablesNotMovableError, match=r"table shop\.days"):
        chosen("shop.days_26", more=partitions)


def test_two_of_one_name_are_refused_because_they_would_meet() -> None:
    with pytest.raises(TablesNotMovableError, match=r"table other\.customers and table shop\.customers"):
        chosen("shop.customers", "other.customers")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("shop.names", r"shop.names \(it is a view\)"),
        ("shop.custmers", r"shop.custmers \(near it: other.customers, shop.customers\)"),
        ("shop.orders", r'shop.orders \(near it: shop."Orders"\)'),
        ("customers", r"customers \(near it: other.customers, shop.customers\)"),
        ("shop.zzz", r"no table shop.zzz\. "),
        ("a.b.c", "isn't SCHEMA.TABLE"),
        ("", "isn't SCHEMA.TABLE"),
    ],
)
def test_a_name_that_is_not_a_tables_is_refused_with_what_is_near(name: str, told: str) -> None:
    with pytest.raises(UnknownTablesError, match=told):
        chosen("shop.customers", name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("shop.Orders", ("shop", "Orders")),
        ('"a.b"."c""d"', ("a.b", 'c"d')),
        ('shop."with space"', ("shop", "with space")),
        ("été.naïve", ("été", "naïve")),
    ],
)
def test_names_are_taken_as_they_are_written(text: str, name: tuple[str, str]) -> None:
    assert parse_table(text) == name
