"""The owner's checks run in the restored copy: read only, as nobody in particular, and not for ever."""

from __future__ import annotations

import json

import pytest

from coffre.databases.checks import parse_checks, read_checks, with_checks
from coffre.databases.registration import OwnersCheck, Registration
from coffre.errors import InvalidChecksError
from tests.fakes.store import START, MemoryStore
from tests.integration.proof.conftest import Bench

SOURCE = """
CREATE TABLE orders (id int PRIMARY KEY, owner text, total numeric); INSERT INTO orders
    SELECT n, 'somebody', n FROM generate_series(1, 100) n;
CREATE SCHEMA private; CREATE TABLE private.notes (note text); INSERT INTO private.notes VALUES ('x');
ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON orders USING (owner = current_user);
CREATE FUNCTION count_orders() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.orders';
"""


def registered(*checks: dict[str, object]) -> Registration:
    return Registration(secret="-", checks=[OwnersCheck.model_validate(check) for check in checks])


@pytest.fixture
def orders(bench: Bench) -> Bench:
    bench.back_up(SOURCE)
    return bench


def test_checks_that_hold_are_counted_and_those_that_dont_are_named_with_what_came(orders: Bench) -> None:
    good: list[dict[str, object]] = [
        {"name": "all there", "sql": "SELECT count(*) = 100 FROM orders"},
        {"name": "number", "sql": "SELECT sum(total) FROM orders -- in euros", "expect": 5050},
        {"name": "text", "sql": "SELECT 'a;b'::text;", "expect": "a;b"},
        {"name": "null", "sql": "SELECT max(id) FROM orders WHERE id > 1000", "expect": None},
        {"name": "private", "sql": "SELECT note FROM private.notes", "expect": "x"},
        {"name": "function", "sql": "SELECT count_orders()", "expect": 100},
        {
            "name": "ordinary",
            "sql": "SELECT rolsuper FROM pg_roles WHERE rolname = current_user",
            "expect": False,
        },
    ]
    proof = orders.prove(registered(*good))
    assert (proof.reasons, proof.verdict, proof.compared.checks) == ([], "proven", len(good))
    bad: list[dict[str, object]] = [
        {"name": "wrong", "sql": "SELECT count(*) FROM orders", "expect": 7},
        {"name": "none", "sql": "SELECT id FROM orders WHERE id > 1000"},
        {"name": "many", "sql": "SELECT true FROM orders"},
        {"name": "wide", "sql": "SELECT true, true"},
        {"name": "unknown", "sql": "SELECT count(*) FROM nowhere"},
        {"name": "zero", "sql": "SELECT 1 / 0"},
        {"name": "writes", "sql": "DELETE FROM orders RETURNING true"},
        {"name": "two", "sql": "SELECT true; COMMIT; DROP TABLE orders"},
        {"name": "reset", "sql": "SELECT set_config('role', 'customer', false)"},
    ]
    proof = orders.prove(registered(*good, *bad))
    assert proof.verdict == "failed"
    assert {reason.object: reason.code for reason in proof.reasons} == {
        **dict.fromkeys(("wrong", "none", "many", "wide"), "check-failed"),
        **dict.fromkeys(("unknown", "zero", "writes", "two", "reset"), "check-error"),
    }
    assert "'100' came, expected '7'" in proof.reasons[0].message


def test_a_check_that_takes_too_long_is_named_and_says_nothing_about_the_backup(orders: Bench) -> None:
    proof = orders.prove(registered({"name": "slow", "sql": "SELECT pg_sleep(60) IS NULL", "seconds": 0.2}))
    assert (proof.verdict, proof.reasons[0].code) == ("inconclusive", "check-timeout")
    assert proof.reasons[0].object == "slow"
    assert proof.compared.tables == 2


def test_long_checks_lie_in_the_vault_and_are_checked_by_their_hash(orders: Bench) -> None:
    many = [OwnersCheck(name=f"c{n}", sql=f"SELECT true /* {'x' * 100} */") for n in range(100)]
    entry = with_checks(Registration(secret="-"), many, orders.store, name="shop")
    assert entry.checks == []
    assert read_checks(entry, orders.store, name="shop") == many
    assert with_checks(entry, many, orders.store, name="shop") == entry, "the same list again"
    proof = orders.prove(entry)
    assert (proof.verdict, proof.compared.checks) == ("proven", 100)
    orders.store.tamper(
        f"shop/checks/{entry.checks_in_vault}.json", lambda body: body.replace(b"true", b"null")
    )
    proof = orders.prove(entry)
    assert (proof.verdict, proof.reasons[0].code) == ("inconclusive", "object-corrupt")


def test_short_checks_lie_in_the_registration() -> None:
    store = MemoryStore(now=START)
    one = [OwnersCheck(name="one", sql="SELECT true")]
    assert with_checks(Registration(secret="-"), one, store, name="shop").checks == one
    assert store.keys() == []


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '[{"name": "x"}]',
        '[{"name": "x", "sql": ""}]',
        '[{"name": "x", "sql": "SELECT 1", "expects": 1}]',
        '[{"name": "x", "sql": "SELECT 1", "seconds": 0}]',
        '[{"name": "x", "sql": "SELECT 1", "expect": [1]}]',
        '[{"name": "../x", "sql": "SELECT 1"}]',
        json.dumps([{"name": "x", "sql": "SELECT 1"}] * 2),
        json.dumps([{"name": "x", "sql": "SELECT 1 " + " " * (256 << 10)}]),
    ],
)
def test_rubbish_is_no_list_of_checks(text: str) -> None:
    with pytest.raises(InvalidChecksError, match="of-mine"):
        parse_checks(text, where="of-mine")
