"""Restores that outgrow one function: equal to their source, through whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coffre.catalogue.entries import RestoreEntry
from coffre.catalogue.ledger import Progress
from coffre.databases.postgresql.notes import notes_schema
from coffre.databases.postgresql.server import EphemeralServer
from tests.integration.scale.desk import RELATED, TABLES, VIEWS_ALLOWED, content, kill_functions, soon
from tests.support.postgres import create, databases, dumped, no_sessions_left, sql, target, url
from tests.support.stack import FunctionError, Stack

WAITED = 3
"""More than a backup has parts: two of them are in one part, and the first takes a worker's whole second."""

SLOW = f"""
CREATE FUNCTION slow(n int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
    WHILE EXISTS (SELECT FROM pg_catalog.pg_stat_file('{{gate}}', true) AS f WHERE f.size IS NOT NULL) LOOP
        PERFORM pg_catalog.pg_sleep(0.02);
    END LOOP;
    PERFORM pg_catalog.pg_sleep(0.01); RETURN true;
END $$;
DO $$ BEGIN FOR t IN 1..{WAITED} LOOP
  EXECUTE format('CREATE TABLE waited_%s (n int PRIMARY KEY CHECK (public.slow(n)))', t);
  EXECUTE format('INSERT INTO waited_%s SELECT generate_series(1, 150)', t);
END LOOP; END $$;
"""
"""Loading each takes longer than a worker has: it passes the next one on.

All of them wait while the file ``gate`` is there.
"""
LOADING = "SELECT FROM pg_stat_activity WHERE query LIKE 'COPY%waited%' AND state = 'active'"


@dataclass
class Started:
    """A restore on the state machine."""

    stack: Stack
    database: str
    answer: dict[str, Any]
    token: str
    wanted: str
    secret: str | None

    @property
    def attempt(self) -> str:
        return self.token[:12]

    @property
    def working(self) -> str:
        return f"{self.wanted}_restoring_{self.attempt}"

    def state(self) -> Progress:
        """How far it is."""
        found = self.stack.catalogue.ledger(self.database, self.attempt).read()
        assert found is not None
        return found

    def given(self) -> dict[str, Any]:
        """What its functions are told."""
        content: dict[str, Any] = json.loads(self.state().given)
        return content

    def in_phase(self, phase: str) -> Progress:
        """How far it is, as soon as it is there."""

        def look() -> Progress | None:
            state = self.state()
            assert state.state == "open", state
            return state if state.phase.startswith(phase) else None

        return soon(look, phase)

    def execution(self, tries: int = 1) -> str:
        machine = self.stack.info["outputs"]["RestoreMachine"]
        return f"{machine.replace(':stateMachine:', ':execution:')}:{self.database}-{self.attempt}-{tries}"

    def ended(self) -> RestoreEntry:
        """Its entry in the history, when it is over."""

        def look() -> RestoreEntry | None:
            if self.state().state == "open":
                return None
            entries = self.stack.catalogue.restores(self.database)
            return next((entry for entry in entries if entry.token == self.token), None)

        return soon(look, f"the end of the restore of {self.database}")

    def items(self) -> int:
        """How many items it had."""
        ledger = self.stack.catalogue.ledger(self.database, self.attempt)
        return sum(1 for _ in ledger._table.query(self.database, f"LEDGER#{self.attempt}#"))

    def live(self) -> list[str]:
        """The runs that keep the backup from being deleted."""
        return [run.run_id for run in self.stack.catalogue.live_runs(self.database) if run.kind == "restore"]


def loads(stack: Stack) -> int:
    """How often the workers' function was started."""
    return (stack.state / "logs" / "LoadFunction.log").read_text().count("START RequestId")


def begin(stack: Stack, database: str, where: str | None, wanted: str, **event: Any) -> Started:
    """Plan and confirm a restore on the state machine."""
    request = {"database": database, "runs": "machine", **event}
    secret = stack.target(where) if where else None
    request |= {"target_secret": secret} if secret else {}
    plan = stack.call("restore", action="plan", **request)
    assert plan["where"] == "machine", plan
    answer = stack.call("restore", action="run", token=plan["token"], **request)
    assert answer["status"] == "started", answer
    return Started(stack, database, answer, plan["token"], wanted, secret)


@pytest.fixture(scope="module")
def gate(scratch_root: Path) -> Path:
    """A file; while it is there, the slow tables wait for its end."""
    return scratch_root / "gate"


@pytest.fixture(scope="module")
def shop(hurried: Stack, server: EphemeralServer, gate: Path) -> Iterator[str]:
    """A database with everything that has its place in the order, and a backup of it."""
    create(server, "shop", VIEWS_ALLOWED, SLOW.replace("{gate}", str(gate)), RELATED)
    key = str(hurried.client("kms").create_key()["KeyMetadata"]["Arn"])
    hurried.register("shop", url(server, "shop"), prove="never", seal_key=key)
    hurried.backup("shop")
    yield "shop"


def test_it_is_equal_though_workers_die_pass_on_and_come_twice(
    hurried: Stack, server: EphemeralServer, shop: str, postgres_root: Path, gate: Path
) -> None:
    before = loads(hurried)
    gate.touch()
    started = begin(hurried, shop, url(server, "shop large"), "shop large")
    started.in_phase("rows")
    soon(lambda: sql(target(server, "postgres"), LOADING), "the slow table")
    killed = kill_functions(hurried, "load", "coffre.worker")
    assert killed
    item = {"kind": "rows", "number": 1, "part": 1, "first": 0, "end": 100}
    with ThreadPoolExecutor() as threads:
        event = {"run": {**started.given(), "oid": 1}, "item": item}
        doubled = [threads.submit(hurried.call, "load", **event) for _ in range(2)]
        gate.unlink()
        entry = started.ended()
    assert entry.status == "completed", entry.error_message
    assert (entry.where, entry.rows) == ("machine", WAITED * 150 + TABLES * 500 + 301)
    tried_again = len(doubled) + killed
    assert loads(hurried) - before > started.items() + tried_again, "nothing was left to a next worker"
    again = target(server, "shop large")
    assert content(again) == content(target(server, "shop"))
    assert dumped(postgres_root, again) == dumped(postgres_root, target(server, "shop"))
    assert sql(again, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [[0]]
    assert started.working not in databases(server)
    assert no_sessions_left(server)
    assert not started.live()


def test_stopped_by_hand_it_says_so_lets_the_backup_go_and_goes_on_when_asked(
    hurried: Stack, server: EphemeralServer, shop: str, gate: Path
) -> None:
    """With `swap` the database in place is backed up first, and gets another name last of all."""
    create(server, "till", "CREATE TABLE old (n int)")
    hurried.register("till", url(server, "till"), prove="never")
    gate.touch()
    started = begin(hurried, shop, url(server, "till"), "till", mode="swap")
    assert started.live()
    started.in_phase("rows")
    soon(lambda: sql(target(server, "postgres"), LOADING), "the slow table")
    hurried.client("stepfunctions").stop_execution(executionArn=started.execution())
    entry = started.ended()
    gate.unlink()
    assert (entry.status, entry.error_code) == ("failed", "restore-stopped")
    assert not started.live()
    assert no_sessions_left(server)
    assert started.working in databases(server)
    told = [event for event in hurried.events(shop) if event.type == "Restore Failed"]
    assert [event.detail["code"] for event in told] == ["restore-stopped"]
    before = sql(
        target(server, started.working), f"SELECT count(*) FROM {notes_schema(started.attempt)}.loaded"
    )
    assert hurried.call("restore", action="resume", database=shop, token=started.token)["status"] == "started"
    entry = soon(lambda: completed(started), "its end")
    assert (entry.kind, entry.where) == ("swap", "machine")
    assert before[0][0] < WAITED + TABLES + 2
    assert content(target(server, "till")) == content(target(server, "shop"))
    assert sql(target(server, str(entry.kept_as)), "SELECT count(*) FROM old") == [[0]]
    (safety,) = hurried.manifests("till")
    assert f"/{entry.safety_backup}/" in safety
    assert [event.type for event in hurried.events(shop) if event.type == "Restore Completed"][-1:]
    with pytest.raises(FunctionError) as again:
        hurried.call("restore", action="resume", database=shop, token=started.token)
    assert again.value.code == "nothing-to-resume"


def completed(started: Started) -> RestoreEntry | None:
    """Its entry, when it has ended well."""
    assert started.state().state != "failed", started.state()
    entry = started.ended() if started.state().state == "committed" else None
    return entry if entry is not None and entry.status == "completed" else None


def test_the_plan_says_where_it_runs_and_why_and_what_it_can_not(
    hurried: Stack, server: EphemeralServer, shop: str
) -> None:
    asked = {"action": "plan", "database": shop, "target_secret": hurried.target(url(server, "planned"))}
    plan = hurried.call("restore", **asked)
    assert (plan["where"], "fits into one function" in plan["reason"]) == ("function", True)
    plan = hurried.call("restore", **asked, runs="machine")
    assert (plan["where"], "asked for" in plan["reason"]) == ("machine", True)
    create(server, "empty")
    asked["target_secret"] = hurried.target(url(server, "empty"))
    with pytest.raises(FunctionError) as refused:
        hurried.call("restore", **asked, runs="machine")
    assert refused.value.code == "restore-too-large"
    tables = {**asked, "mode": "tables", "tables": ["public.t1"]}
    with pytest.raises(FunctionError) as refused:
        hurried.call("restore", **tables, runs="machine")
    assert refused.value.code == "invalid-event"
