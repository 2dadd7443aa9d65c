"""The demo's comparison by SQL sees every kind of difference, and none where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from demo.content import content_of, differences
from demo.sql import Place, execute

SCHEMA = """
CREATE SCHEMA shop;
CREATE TABLE shop.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text, price float8)
    PARTITION BY RANGE (id);
CREATE TABLE shop.first_orders PARTITION OF shop.orders FOR VALUES FROM (1) TO (1000);
INSERT INTO shop.orders (note, price) SELECT 'note ' || n, n / 7.0 FROM generate_series(1, 100) AS n;
CREATE MATERIALIZED VIEW shop.best AS SELECT max(price) AS price FROM shop.orders;
SELECT lo_from_bytea(4711, 'large');
"""


@pytest.fixture(scope="module")
def place(postgres_root: Path, scratch_root: Path) -> Iterator[Place]:
    with EphemeralServer.start(postgres_root, 16, scratch_root) as started:
        place = Place(started.socket_dir, started.port, started.superuser)
        execute(place, "postgres", "CREATE DATABASE original")
        execute(place, "original", SCHEMA)
        yield place


def changed(place: Place, name: str, change: str) -> list[str]:
    execute(place, "postgres", f"CREATE DATABASE {name} TEMPLATE original")
    execute(place, name, change)
    return differences(content_of(place, "original"), content_of(place, name))


def test_a_copy_in_another_order_is_equal(place: Place) -> None:
    assert changed(place, "copied", "UPDATE shop.orders SET note = note WHERE id % 2 = 0") == []


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("a_cell", "UPDATE shop.orders SET price = price + 1e-9 WHERE id = 50", "shop.orders: "),
        ("a_row", "DELETE FROM shop.orders WHERE id = 100", "shop.orders: (99, "),
        ("a_null", "UPDATE shop.orders SET note = NULL WHERE note = 'note 7'", "shop.orders: "),
        ("a_view", "DROP MATERIALIZED VIEW shop.best", "shop.best: missing"),
        ("a_sequence", "SELECT nextval('shop.orders_id_seq')", "sequence shop.orders_id_seq: 101 of "),
        ("an_index", "CREATE INDEX by_note ON shop.orders (note)", "index shop.by_note: not expected"),
        ("a_grant", "GRANT SELECT ON shop.orders TO PUBLIC", "grants on shop.orders: "),
        ("a_comment", "COMMENT ON TABLE shop.orders IS 'new'", "comment on table shop.orders: not expected"),
        ("an_object", "SELECT lo_put(4711, 0, 'LARGE')", "large object 4711: "),
    ],
)
def test_any_change_is_named(place: Place, name: str, change: str, told: str) -> None:
    assert any(difference.startswith(told) for difference in changed(place, name, change))
