"""A restore takes a database's place, keeps the old one, and can be undone: by the functions, as on AWS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.server import EphemeralServer
from tests.support.application import Application, application
from tests.support.postgres import create, databases, dumped, sql, target, url
from tests.support.stack import FunctionError, Stack

CONTENT = """
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text);
INSERT INTO orders (what) SELECT 'order ' || n FROM generate_series(1, 300) n;
"""


@pytest.fixture(scope="module")
def market(stack: Stack, server16: EphemeralServer, app: Application) -> Iterator[str]:
    """A registered database with a backup, an accident after it, and things that belong to its name."""
    where = create(server16, "market", CONTENT)
    sql(target(server16, "postgres"), "CREATE ROLE clerk LOGIN", "CREATE ROLE keeper LOGIN CREATEDB")
    sql(
        where,
        "ALTER DATABASE market OWNER TO keeper",
        "REVOKE CONNECT ON DATABASE market FROM PUBLIC",
        "GRANT CONNECT ON DATABASE market TO clerk WITH GRANT OPTION",
        "ALTER DATABASE market CONNECTION LIMIT 77",
        "ALTER DATABASE market SET work_mem = '7MB'",
        "ALTER ROLE clerk IN DATABASE market SET search_path = public, pg_catalog",
        "COMMENT ON DATABASE market IS 'the market''s'",
    )
    endpoints = [{"url": app.set("/health", 200)}, {"url": app.set("/admin", 401), "status": 401}]
    critical = ["orders", "public.invoices"]
    decisions = {"critical_tables": critical, "endpoints": endpoints}
    stack.register("market", url(server16, "market"), **decisions)
    stack.backup("market")
    stack.drain()
    # One proof is enough to estimate by: nobody looks at those of the safety backups.
    stack.register("market", url(server16, "market"), prove="never", **decisions)
    sql(where, "DELETE FROM orders WHERE id > 100")
    yield "market"


@pytest.fixture(scope="module")
def app() -> Iterator[Application]:
    """The application that uses the market."""
    with application() as running:
        yield running


def belongings(server: EphemeralServer, name: str) -> list[list[Any]]:
    """What belongs to a database's name."""
    return sql(
        target(server, "postgres"),
        "SELECT datdba::regrole::text, ARRAY(SELECT unnest(datacl)::text ORDER BY 1), datconnlimit, "
        "shobj_description(oid, 'pg_database'), "
        "(SELECT array_agg(setrole::text || setconfig::text ORDER BY 1) "
        f"FROM pg_db_role_setting WHERE setdatabase = d.oid) FROM pg_database d WHERE datname = '{name}'",
    )


def count(server: EphemeralServer, name: str) -> int:
    return int(sql(target(server, name), "SELECT count(*) FROM orders")[0][0])


def test_a_swap_and_its_undo_lose_nothing(
    stack: Stack, market: str, server16: EphemeralServer, postgres_root: Path, app: Application
) -> None:
    before, belonged = databases(server16), belongings(server16, market)
    damaged = dumped(postgres_root, target(server16, market))
    plan = stack.call("restore", action="plan", mode="swap", database=market)
    assert (plan["safety_backup"], plan["creates_database"]) == ("market", True)
    assert plan["kept_as"].startswith("market_before_20")
    assert plan["estimate_seconds"] > 0, "its proof was measured"
    assert "1 proof" in plan["estimate_basis"]
    assert databases(server16) == before

    request = {"database": market, "mode": "swap", "token": plan["token"]}
    result = stack.call("restore", action="run", **request)
    assert (result["mode"], result["kept_as"], result["rows"]) == ("swap", plan["kept_as"], 300)
    assert result["status"] == "completed"
    assert [(answer["up"], answer["status"]) for answer in result["endpoints"]] == [(True, 200), (True, 401)]
    assert [f["object"] for f in result["findings"] if f["code"] == "critical-table-missing"] == [
        "public.invoices"
    ]
    assert databases(server16) == before | {plan["kept_as"]}
    assert (count(server16, market), count(server16, plan["kept_as"])) == (300, 100)
    assert belongings(server16, market) == belonged
    safety = stack.catalogue.backup(market, result["safety_backup"])
    assert safety is not None
    assert (safety.type, safety.status, safety.rows) == ("safety", "completed", 100)

    with pytest.raises(FunctionError) as twice:
        stack.call("restore", action="run", **request)
    assert twice.value.code in {"plan-used", "plan-changed"}

    undo = stack.call("restore", action="plan", mode="undo", database=market)
    assert (undo["comes_back"], undo["target_database"]) == (plan["kept_as"], market)
    assert count(server16, market) == 300
    app.set("/health", 503)
    back = stack.call("restore", action="run", mode="undo", database=market, token=undo["token"])
    assert back["status"] == "application-down", "done, and not in silence"
    assert [f["code"] for f in back["findings"]] == ["endpoint-down"]
    (sick,) = stack.call("health", database=market)["databases"]
    assert "endpoint-down" in [reason["code"] for reason in sick["reasons"]]
    assert stack.told(market, "Restore").detail["status"] == "application-down"
    app.set("/health", 200)
    assert back["kept_as"] == undo["kept_as"]
    assert count(server16, market) == 100
    assert dumped(postgres_root, target(server16, market)) == damaged
    assert belongings(server16, market) == belonged
    assert count(server16, undo["kept_as"]) == 300, "the restored one stays, too"

    with pytest.raises(FunctionError) as nothing_left:
        stack.call("restore", action="plan", mode="undo", database=market)
    assert nothing_left.value.code == "undo-impossible"
    history = [(entry.kind, entry.status, entry.kept_as) for entry in stack.catalogue.restores(market)]
    assert [entry for entry in history if entry[0] != "proof"] == [
        ("undo", "completed", undo["kept_as"]),
        ("swap", "completed", plan["kept_as"]),
    ]
    assert [entry.action for entry in stack.catalogue.audits(market)][:2] == ["undo", "restore"]
    assert {"Restore Completed", "Restore Undone"} <= {event.type for event in stack.events(market)}


def test_an_undo_refuses_databases_that_do_not_belong_together(
    stack: Stack, market: str, server16: EphemeralServer
) -> None:
    stack.restore(market, url(server16, market), mode="swap", safety="skip")
    rename = "ALTER DATABASE market RENAME TO {}".format
    sql(target(server16, "postgres"), rename("market_elsewhere"))
    undo = stack.call(
        "restore",
        action="plan",
        mode="undo",
        database=market,
        target_secret=stack.target(url(server16, market)),
    )
    assert undo["kept_as"] is None, "nobody bears the name"
    create(server16, "market")
    before = databases(server16)
    for event in ({"action": "plan"}, {"action": "run", "token": undo["token"]}):
        with pytest.raises(FunctionError) as refused:
            stack.call(
                "restore",
                mode="undo",
                database=market,
                target_secret=stack.target(url(server16, market)),
                **event,
            )
        assert refused.value.code == "undo-impossible"
    assert databases(server16) == before
    sql(
        target(server16, "postgres"),
        "DROP DATABASE market",
        "ALTER DATABASE market_elsewhere RENAME TO market",
    )
    token = stack.call("restore", action="plan", mode="undo", database=market)["token"]
    stack.call("restore", action="run", mode="undo", database=market, token=token)
    assert count(server16, market) == 100


def test_without_a_registration_a_swap_needs_an_explicit_word(
    stack: Stack, market: str, server16: EphemeralServer
) -> None:
    create(server16, "stranger", "CREATE TABLE orders (id int)")
    secret = stack.target(url(server16, "stranger"))
    request = {"database": market, "mode": "swap", "target_secret": secret}
    with pytest.raises(FunctionError) as refused:
        stack.call("restore", action="plan", **request)
    assert refused.value.code == "safety-backup-impossible"
    plan = stack.call("restore", action="plan", safety="skip", **request)
    assert plan["safety_backup"] is None
    assert "no-safety-backup" in {finding["code"] for finding in plan["findings"]}
    with pytest.raises(FunctionError) as changed:  # another word than the one that was planned
        stack.call("restore", action="run", token=plan["token"], **request)
    assert changed.value.code == "safety-backup-impossible"
    stack.call("restore", action="run", token=plan["token"], safety="skip", **request)
    assert count(server16, "stranger") == 300
    assert count(server16, plan["kept_as"]) == 0


def test_a_safety_backup_that_fails_changes_nothing(
    stack: Stack, market: str, server16: EphemeralServer
) -> None:
    before = databases(server16)
    plan = stack.call("restore", action="plan", mode="swap", database=market)
    sql(
        target(server16, market),
        "CREATE TABLE unlogged (id int)",
        "ALTER TABLE unlogged ENABLE ROW LEVEL SECURITY",
    )
    stack.register("market", url(server16, "market", "clerk"), prove="never")
    with pytest.raises(FunctionError) as failed:
        stack.call(
            "restore",
            action="run",
            mode="swap",
            database=market,
            token=plan["token"],
            target_secret=stack.target(url(server16, market)),
        )
    assert failed.value.code == "function-failed"
    assert databases(server16) == before
    entry = next(stack.catalogue.restores(market))
    assert (entry.status, entry.error_code) == ("failed", "function-failed")
    stack.register("market", url(server16, "market"), prove="never")
    sql(target(server16, market), "DROP TABLE unlogged")


@pytest.mark.parametrize(
    ("role", "lacking"),
    [("", ["CREATEDB", "membership in keeper"]), ("CREATEDB", ["membership in keeper"])],
)
def test_a_role_that_may_not_swap_is_told_what_it_lacks(
    stack: Stack, market: str, server16: EphemeralServer, role: str, lacking: list[str]
) -> None:
    sql(target(server16, "postgres"), "DROP ROLE IF EXISTS swapper", f"CREATE ROLE swapper LOGIN {role}")
    with pytest.raises(FunctionError) as refused:
        stack.call(
            "restore",
            action="plan",
            mode="swap",
            database=market,
            safety="skip",
            target_secret=stack.target(url(server16, market, "swapper")),
        )
    assert refused.value.code == "target-lacks"
    for right in lacking:
        assert right in str(refused.value)


def test_an_ordinary_role_swaps_what_it_owns_and_ends_the_applications_sessions(
    stack: Stack, server16: EphemeralServer
) -> None:
    sql(target(server16, "postgres"), "CREATE ROLE landlord LOGIN CREATEDB", "CREATE ROLE tenant LOGIN")
    create(
        server16,
        "house",
        CONTENT,
        "ALTER TABLE orders OWNER TO landlord",
        "ALTER DATABASE house OWNER TO landlord",
    )
    stack.register("house", url(server16, "house"), prove="never")
    stack.backup("house")
    sql(target(server16, "house"), "DROP TABLE orders")
    landlord = url(server16, "house", "landlord")
    with open_session(replace(target(server16, "house"), user="tenant"), seconds=60):
        with pytest.raises(FunctionError, match="end sessions of tenant"):
            stack.call(
                "restore", action="plan", mode="swap", database="house", target_secret=stack.target(landlord)
            )
        sql(target(server16, "postgres"), "GRANT pg_signal_backend TO landlord")
        result = stack.restore("house", landlord, mode="swap")
    assert count(server16, "house") == 300
    assert result["safety_backup"] is not None
    owners = sql(
        target(server16, "house"), "SELECT datdba::regrole::text FROM pg_database WHERE datname LIKE 'house%'"
    )
    assert owners == [["landlord"], ["landlord"]]


@pytest.mark.parametrize("name", ["postgres", "template1"])
def test_postgresqls_own_databases_are_not_swapped(
    stack: Stack, market: str, server16: EphemeralServer, name: str
) -> None:
    for mode in ({"mode": "swap", "safety": "skip"}, {"mode": "undo"}):
        with pytest.raises(FunctionError) as refused:
            secret = stack.target(url(server16, name))
            stack.call("restore", action="plan", database=market, target_secret=secret, **mode)
        assert refused.value.code == "target-lacks"
