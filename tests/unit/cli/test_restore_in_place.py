"""`coffre restore --mode swap`, `undo` and `list`: nothing is replaced without a warning and time to stop."""

from __future__ import annotations

from typing import Any

import pytest

from coffre.catalogue.entries import RestoreEntry
from coffre_cli import restore
from tests.unit.cli.conftest import BACKUP, World
from tests.unit.cli.test_restore import PLAN, RESULT, URL, Terminal, actions

ASIDE = "shop_before_20261120T231500Z"
SWAP = {
    **PLAN,
    "mode": "swap",
    "target": "database 'shop' at db.example:5432",
    "target_database": "shop",
    "kept_as": ASIDE,
    "safety_backup": "shop",
    "sessions": 3,
    "estimate_seconds": 61.0,
    "estimate_basis": "the median of 2 restores",
}
UNDO = {
    "action": "plan",
    "mode": "undo",
    "token": "t",
    "database": "shop",
    "target": "database 'shop' at db.example:5432",
    "target_database": "shop",
    "comes_back": ASIDE,
    "replaced_at": "2026-11-20T23:15:00.000000Z",
    "kept_as": "shop_undone_20261121T000000Z",
    "sessions": 0,
}
UNDONE = {
    "action": "run",
    "mode": "undo",
    "database": "shop",
    "target_database": "shop",
    "came_back": ASIDE,
    "kept_as": "shop_undone_20261121T000000Z",
    "seconds": 0.4,
}


@pytest.fixture
def swapping(world: World) -> World:
    """A world whose restore function swaps and undoes."""

    def answer(event: dict[str, Any]) -> dict[str, Any]:
        if event["mode"] == "undo":
            return UNDO if event["action"] == "plan" else UNDONE
        assert event["mode"] == "swap"
        if event["action"] == "plan":
            return SWAP
        return {**RESULT, "mode": "swap", "kept_as": ASIDE, "safety_backup": "a-safety-backup"}

    world.functions.answers["restore"] = answer
    return world


def test_a_history_has_an_end(world: World) -> None:
    assert world.run("restore", "list", "shop", "--limit", "9" * 23).code == 2


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the command let pass."""
    passed: list[float] = []
    monkeypatch.setattr(restore.time, "sleep", passed.append)
    return passed


def test_a_swap_warns_and_counts_down_before_it_runs(
    swapping: World, monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    outcome = swapping.run("restore", "shop", "latest", "--mode", "swap", "--wait")
    assert outcome.code == 0
    assert sum(waited) == 10
    assert f"what is in it now stays in {ASIDE}" in outcome.err
    assert "in 10 s" in outcome.err
    assert "a-safety-backup" in outcome.out
    assert "median of 2 restores" in outcome.err


def test_ctrl_c_in_the_countdown_runs_nothing(swapping: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    monkeypatch.setattr(restore.time, "sleep", interrupt)
    outcome = swapping.run("restore", "shop", "latest", "--mode", "swap", "--to", URL, "--wait")
    assert (outcome.code, actions(swapping), swapping.secrets()) == (130, ["plan"], {})


def test_yes_skips_question_and_countdown(swapping: World, waited: list[float]) -> None:
    outcome = swapping.run("restore", "shop", "latest", "--mode", "swap", "--yes", "--wait", "--json")
    assert outcome.document["kept_as"] == ASIDE
    assert waited == []
    _, event, _ = swapping.functions.calls[-1]
    assert event == {
        "action": "run",
        "database": "shop",
        "mode": "swap",
        "roles": "keep",
        "backup": BACKUP,
        "token": PLAN["token"],
    }


def test_mapped_roles_are_part_of_plan_and_run(swapping: World) -> None:
    given = ("--map-role", "seller=owner", "--map-role", "a=b=c", "--yes", "--wait", "--json")
    swapping.run("restore", "shop", "latest", "--mode", "swap", *given)
    assert [event["role_map"] for _, event, _ in swapping.functions.calls] == [
        {"seller": "owner", "a": "b=c"}
    ] * 2


def test_an_undo_asks_counts_down_and_names_both_databases(
    swapping: World, monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    outcome = swapping.run("restore", "undo", "shop")
    assert outcome.code == 0
    assert sum(waited) == 10
    assert ASIDE in outcome.err
    assert "shop_undone_20261121T000000Z" in outcome.out
    assert [event["action"] for _, event, _ in swapping.functions.calls] == ["plan", "run"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("restore", "shop", "latest", "--yes"),
        ("restore", "shop", "latest", "--to", URL, "--no-safety", "--yes"),
        ("restore", "shop", "latest", "--mode", "swap", "--ca", "/nowhere", "--yes"),
        ("restore", "undo", "shop"),
        ("restore", "shop", "latest", "--to", URL, "--map-role", "seller", "--yes"),
        ("restore", "shop", "latest", "--to", URL, "--roles", "mine", "--map-role", "a=b", "--yes"),
        ("restore", "shop", "latest", "--to", URL, "--map-role", "a=b", "--map-role", "a=c", "--yes"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_anything_is_asked(
    swapping: World, arguments: tuple[str, ...]
) -> None:
    assert swapping.run(*arguments).code == 2
    assert (swapping.functions.calls, swapping.secrets()) == ([], {})


def test_the_word_run_may_be_left_out_or_not(swapping: World) -> None:
    for word in ((), ("run",)):
        given = ("restore", *word, "--mode", "swap", "shop", "latest", "--yes", "--wait", "--json")
        assert swapping.run(*given).document["kept_as"] == ASIDE


def test_past_restores_are_listed_with_what_they_took(world: World) -> None:
    world.catalogue.record_restore(
        RestoreEntry("shop", "2026-11-20T00:00:00.000000Z", "proof", "completed", BACKUP, milliseconds=1500)
    )
    world.catalogue.record_restore(
        RestoreEntry("shop", "2026-11-21T00:00:00.000000Z", "swap", "completed", BACKUP, kept_as=ASIDE)
    )
    outcome = world.run("restore", "list", "shop", "--json")
    assert [(entry["kind"], entry["kept_as"]) for entry in outcome.document] == [
        ("swap", ASIDE),
        ("proof", None),
    ]
    assert ASIDE in world.run("restore", "list", "shop").out
    assert len(world.run("restore", "list", "shop", "--limit", "1", "--json").document) == 1
    assert world.run("restore", "list", "nobody").code == 2
