"""`coffre restore`: nothing runs unconfirmed, and the target's secret doesn't stay."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from coffre.catalogue.entries import RestoreEntry
from coffre.ids import stamp, utc_now
from coffre_cli import secret
from tests.unit.cli.conftest import BACKUP, STACK, FunctionError, World

URL = "postgresql://owner:hidden@db.example/copy"
TARGETS = f"coffre/{STACK}/targets/"

PLAN: dict[str, Any] = {
    "action": "plan",
    "token": "c0a1f1d46b1e3c52",
    "database": "shop",
    "backup_id": BACKUP,
    "target": "database 'copy' at db.example:5432",
    "target_database": "copy",
    "creates_database": True,
    "roles_to_create": ["sales"],
    "tables": 2,
    "rows": 10,
    "bytes": 2000,
    "findings": [
        {"level": "warn", "code": "superuser", "object": "owner", "message": "it is one", "advice": "Beware."}
    ],
}
RESULT: dict[str, Any] = {
    "action": "run",
    "status": "completed",
    "database": "shop",
    "backup_id": BACKUP,
    "target_database": "copy",
    "tables": 2,
    "rows": 10,
    "bytes": 2000,
    "seconds": 3.5,
    "digests_equal": True,
    "phases": {"rows": 2.0},
    "findings": [],
}


class Terminal(io.StringIO):
    """Somebody at a keyboard."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.fixture
def restoring(world: World) -> World:
    """A world whose restore function works, if the secret that it is given holds the target."""

    def answer(event: dict[str, Any]) -> dict[str, Any]:
        assert "hidden" in world.secrets()[event["target_secret"]]["url"]
        if event["action"] == "plan":
            return PLAN
        assert (event["token"], event["backup"]) == (PLAN["token"], BACKUP)
        return RESULT

    world.functions.answers["restore"] = answer
    return world


def actions(world: World) -> list[str]:
    """What the function was asked to do."""
    return [event["action"] for _, event, _ in world.functions.calls]


def test_a_restore_shows_its_plan_runs_it_and_leaves_no_secret(restoring: World) -> None:
    outcome = restoring.run("restore", "shop", "latest", "--to", URL, "--yes", "--wait", "--json")
    assert outcome.code == 0
    assert {"status", "tables", "rows", "seconds", "digests_equal"} <= set(outcome.document)
    assert "sales" in outcome.err
    assert "Beware." in outcome.err
    assert actions(restoring) == ["plan", "run"]
    assert restoring.secrets() == {}
    assert "hidden" not in outcome.out + outcome.err


def test_where_nobody_can_be_asked_nothing_happens(restoring: World) -> None:
    outcome = restoring.run("restore", "shop", "latest", "--to", URL, "--wait", "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "not-confirmed")
    assert "--yes" in outcome.document["error"]["advice"]
    assert (restoring.functions.calls, restoring.secrets()) == ([], {})


@pytest.mark.parametrize(("word", "asked"), [("y\n", ["plan", "run"]), ("n\n", ["plan"])])
def test_only_a_yes_runs_the_plan(
    restoring: World, monkeypatch: pytest.MonkeyPatch, word: str, asked: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(word))
    outcome = restoring.run("restore", "shop", "latest", "--to", URL, "--wait")
    assert actions(restoring) == asked
    assert outcome.code == (0 if "run" in asked else 2)
    assert restoring.secrets() == {}


def test_a_restore_that_fails_leaves_no_secret(restoring: World) -> None:
    def fails(_: dict[str, Any]) -> None:
        raise FunctionError(
            "TargetNotEmptyError", "[target-not-empty] copy holds 3 tables. Name another one."
        )

    restoring.functions.answers["restore"] = fails
    outcome = restoring.run("restore", "shop", "latest", "--to", URL, "--yes", "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "target-not-empty")
    assert restoring.secrets() == {}


def test_a_secret_that_a_restore_of_days_still_reads_is_kept() -> None:
    made = datetime(2026, 11, 20, 8, tzinfo=UTC)
    read = made.replace(day=23, hour=0)
    assert secret.last_use({"CreatedDate": made}) == made
    assert secret.last_use({"CreatedDate": made, "LastAccessedDate": None}) == made
    assert secret.last_use({"CreatedDate": made, "LastAccessedDate": made.replace(hour=0)}) == made
    assert secret.last_use({"CreatedDate": made, "LastAccessedDate": read}) == read


def test_a_restore_that_is_not_waited_for_keeps_its_secret_while_it_may_be_read(
    restoring: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = restoring.run("restore", "shop", "latest", "--to", URL, "--yes", "--json")
    assert outcome.document["status"] == "started"
    assert restoring.functions.calls[-1][2] is False
    kept = set(restoring.secrets())
    assert kept == {outcome.document["target_secret"]}
    others = {f"coffre/{STACK}-b/targets/{'a' * 12}", f"{TARGETS}scratch", f"{TARGETS}{'b' * 12}"}
    for name in others:
        boto3.client("secretsmanager").create_secret(Name=name, SecretString="{}")

    restoring.run("restore", "shop", "latest", "--to", URL, "--yes", "--wait")
    assert kept < set(restoring.secrets())
    monkeypatch.setattr(secret, "TARGET_KEPT", timedelta(0))
    restoring.run("restore", "shop", "latest", "--to", URL, "--yes", "--wait")
    assert set(restoring.secrets()) == others, "another stack's, and those that somebody else made"


@pytest.mark.parametrize(
    "url",
    [
        "postgres@db",
        "postgresql://postgres@db.example",
        "postgresql://postgres@db.example/",
        "postgresql:///?host=/tmp&user=postgres",
    ],
)
def test_a_url_that_is_malformed_or_names_no_database_changes_nothing(restoring: World, url: str) -> None:
    outcome = restoring.run("restore", "shop", "latest", "--to", url, "--yes", "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "invalid-url")
    assert restoring.functions.calls == []


def test_exceptions_are_accepted_only_when_asked_to(restoring: World) -> None:
    left_out = {"level": "refuse", "code": "exception-check", "object": "public.t: fits", "message": "3 rows"}
    answer = restoring.functions.answers["restore"]
    restoring.functions.answers["restore"] = lambda event: (
        {**answer(event), "exceptions": [left_out]} if event["action"] == "run" else answer(event)
    )
    restoring.run("restore", "shop", "latest", "--to", URL, "--yes", "--wait")
    assert all("exceptions" not in event for _, event, _ in restoring.functions.calls)
    outcome = restoring.run("restore", "shop", "latest", "--to", URL, "--yes", "--wait", "--with-exceptions")
    assert [event["exceptions"] for _, event, _ in restoring.functions.calls[-2:]] == ["accept", "accept"]
    assert "public.t: fits" in outcome.out


TOKEN = "0123456789abcdef0123456789abcdef-20261120T231500Z"


@pytest.fixture
def large(world: World) -> World:
    """A world whose restores run on the state machine, and have done so when one looks."""
    ledger = world.catalogue.ledger("shop", TOKEN[:12])

    def answer(event: dict[str, Any]) -> dict[str, Any]:
        if event["action"] == "plan":
            reason = "about 5000 s: more than 60% of the 895 s of one function"
            return {**PLAN, "token": TOKEN, "where": "machine", "reason": reason}
        if event["action"] == "resume":
            assert ledger.open_again(utc_now() + timedelta(hours=1))
            ledger.conclude(json.dumps(RESULT))
        elif not ledger.open(BACKUP, utc_now() + timedelta(hours=1), version=1):
            raise AssertionError("it runs already")
        elif event.get("exceptions") == "accept":
            ledger.conclude(json.dumps(RESULT))
        else:
            ledger.fail()
            world.catalogue.record_restore(FAILED)
        return {**RESULT, "status": "started", "where": "machine", "rows": 0}

    world.functions.answers["restore"] = answer
    return world


FAILED = RestoreEntry(
    "shop",
    stamp(utc_now()),
    "new",
    "failed",
    BACKUP,
    where="machine",
    token=TOKEN,
    error_code="disk-full",
    error_message="no room for public.orders",
)


def test_the_plan_says_where_it_runs_and_why(large: World) -> None:
    shown = large.run("restore", "shop", "latest", "--to", URL, "--yes", "--runs", "machine").err
    assert "on the state machine: about 5000 s: more than 60%" in " ".join(shown.split())
    assert {event.get("runs") for _, event, _ in large.functions.calls} == {"machine"}


def test_a_restore_on_the_state_machine_is_waited_for_and_told_with_its_numbers(large: World) -> None:
    options = ("--to", URL, "--yes", "--wait", "--with-exceptions", "--json")
    outcome = large.run("restore", "shop", "latest", *options)
    assert (outcome.code, outcome.document["status"], outcome.document["rows"]) == (0, "completed", 10)
    assert not [name for name in large.secrets() if name.startswith(TARGETS)]


def test_one_that_failed_tells_its_cause_keeps_its_target_and_is_resumed(large: World) -> None:
    outcome = large.run("restore", "shop", "latest", "--to", URL, "--yes", "--wait")
    assert outcome.code == 1
    assert "[disk-full]" in outcome.err
    assert "coffre restore resume" in outcome.err
    assert [name for name in large.secrets() if name.startswith(TARGETS)]
    resumed = large.run("restore", "resume", "shop", "--wait", "--json")
    assert (resumed.code, resumed.document["status"]) == (0, "completed")
    assert large.functions.calls[-1][1] == {"action": "resume", "database": "shop", "token": TOKEN}


def test_one_that_cannot_go_on_says_what_to_do_instead(large: World, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed = replace(FAILED, error_code="run-of-another-version", error_message="it was deployed")
    monkeypatch.setitem(globals(), "FAILED", deployed)
    outcome = large.run("restore", "shop", "latest", "--to", URL, "--yes", "--wait")
    assert "[run-of-another-version]" in outcome.err
    assert "Begin it again" in outcome.err
    assert "coffre restore resume" not in outcome.err


def test_nothing_is_resumed_where_nothing_failed(large: World) -> None:
    outcome = large.run("restore", "resume", "shop")
    assert (outcome.code, "[unknown-database]" in outcome.err) == (2, True)
    large.register()
    outcome = large.run("restore", "resume", "shop")
    assert (outcome.code, "[nothing-to-resume]" in outcome.err) == (2, True)


def test_status_follows_a_restore_on_the_state_machine(world: World) -> None:
    deadline = utc_now() + timedelta(hours=1)
    ledger = world.catalogue.ledger("shop", TOKEN[:12])
    ledger.open(BACKUP, deadline, version=1)
    world.catalogue.start_run("shop", "restore", f"{BACKUP}-{TOKEN[:12]}", deadline, BACKUP)
    ledger.enter("rows", batches=7, total=2_000_000)
    ledger.add(rows=1234, done=1_000_000)
    ledger.settle("1-rows-000001")
    ledger.settle("1-rows-000001")
    document = world.run("status", "shop", "--json").document["restore"]
    assert (document["status"], document["phase"], document["rows"]) == ("in_progress", "rows", 1234)
    assert (document["batches"], document["batches_done"]) == (7, 1)
    assert document["seconds_left"] > 0
    assert "1.0 MB of 2.0 MB" in world.run("status", "shop", "--once").out
    ledger.fail()
    world.catalogue.record_restore(FAILED)
    assert world.run("status", "shop", "--once").code == 1


def test_ctrl_c_while_a_restore_goes_on_elsewhere_says_so_and_keeps_its_target(
    large: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("coffre.catalogue.ledger.Ledger.conclude", lambda *_: True)
    monkeypatch.setattr("time.sleep", interrupt)
    outcome = large.run("restore", "shop", "latest", "--to", URL, "--yes", "--wait", "--with-exceptions")
    assert (outcome.code, outcome.out) == (130, "")
    assert "the restore of shop goes on; `coffre status shop` follows it" in outcome.err
    assert [name for name in large.secrets() if name.startswith(TARGETS)]
