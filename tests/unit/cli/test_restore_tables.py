"""`coffre restore --table`: the plan says what comes along and what stays out, and names nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cli.conftest import BACKUP, World
from tests.unit.cli.test_restore import PLAN, RESULT, actions

LEFT = {
    "level": "warn",
    "code": "left-out",
    "object": "trigger shop.orders noted",
    "message": "trigger shop.orders noted stays out",
}
ALONG = ["sequence shop.orders_id_seq", "table shop.orders"]
TABLES = ("--table", "shop.orders", "--table", 'shop."odd one"')


@pytest.fixture
def rescuing(world: World) -> World:
    """A world whose restore function brings tables back."""

    def answer(event: dict[str, Any]) -> dict[str, Any]:
        into = event.get("into", "restored_20261120t030000z")
        about = {"mode": "tables", "into": into, "findings": [LEFT]}
        return {**PLAN, **about, "comes_along": ALONG} if event["action"] == "plan" else {**RESULT, **about}

    world.functions.answers["restore"] = answer
    return world


def test_the_named_tables_are_what_is_planned_and_run(rescuing: World) -> None:
    outcome = rescuing.run("restore", "shop", "latest", *TABLES, "--yes", "--wait", "--json")
    assert (outcome.code, outcome.document["into"]) == (0, "restored_20261120t030000z")
    assert actions(rescuing) == ["plan", "run"]
    asked = {"database": "shop", "mode": "tables", "tables": ["shop.orders", 'shop."odd one"']}
    assert [event for _, event, _ in rescuing.functions.calls] == [
        {**asked, "action": "plan", "backup": "latest"},
        {**asked, "action": "run", "backup": BACKUP, "token": PLAN["token"]},
    ]


def test_the_plan_names_the_schema_what_comes_along_and_what_stays_out(rescuing: World) -> None:
    outcome = rescuing.run("restore", "shop", "latest", *TABLES, "--into", "rescue", "--yes", "--wait")
    for told in ("rescue", *ALONG, "trigger shop.orders noted stays out"):
        assert told in outcome.err
    assert "roles to create" not in outcome.err
    assert "rescue" in outcome.out


def test_a_plan_tells_one_estimate_of_the_time(rescuing: World) -> None:
    answer = rescuing.functions.answers["restore"]
    reason = {"reason": "about 16 s at 10 MB/s (assumed)"}
    rescuing.functions.answers["restore"] = lambda event: {**answer(event), **reason}
    alone = rescuing.run("restore", "shop", "latest", *TABLES, "--yes").err
    assert "10 MB/s (assumed)" in alone
    measured = {"estimate_seconds": 6.3, "estimate_basis": "the median of 2 restores"}
    rescuing.functions.answers["restore"] = lambda event: {**answer(event), **reason, **measured}
    both = rescuing.run("restore", "shop", "latest", *TABLES, "--yes").err
    assert "about 6.3 s (the median of 2 restores)" in both
    assert "16 s" not in both


def test_a_table_without_its_schema_is_told_before_anything_is_asked(rescuing: World) -> None:
    outcome = rescuing.run(
        "restore", "shop", "latest", "--to", "postgresql:///x", "--table", "orders", "--yes"
    )
    assert (outcome.code, rescuing.functions.calls) == (2, [])
    assert "--table orders names no schema" in outcome.err
    assert "public.orders" in outcome.err


@pytest.mark.parametrize(
    "options",
    [
        ("--mode", "tables"),
        ("--mode", "swap", *TABLES),
        ("--mode", "new", *TABLES),
        ("--into", "rescue"),
        (*TABLES, "--roles", "mine"),
        (*TABLES, "--map-role", "a=b"),
        (*TABLES, "--no-safety"),
    ],
)
def test_options_that_would_be_ignored_are_refused(rescuing: World, options: tuple[str, ...]) -> None:
    outcome = rescuing.run("restore", "shop", "latest", "--to", "postgresql:///x", *options, "--yes")
    assert (outcome.code, rescuing.functions.calls) == (2, [])
