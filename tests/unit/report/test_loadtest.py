"""A load test's report is kept once, as JSON and as a page, and only if it is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coffre.databases.registration import Registration
from coffre.errors import InvalidEventError, UnknownDatabaseError
from coffre.events.base import parse
from coffre.events.report import LoadTestEnded
from coffre.report import loadtest
from coffre.report.loadtest_page import load_test_page
from coffre.report.text import percent
from coffre.results import LoadTestReport
from tests.fakes.kms import KEY
from tests.unit.report.conftest import NAME, World
from tests.unit.report.test_page import HOSTILE, Page

ENDED: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "events" / "report" / "load-test-ended.json").read_text()
)
STACK = "coffre-prod"


def ended(**more: Any) -> LoadTestEnded:
    """The event of a test, with parts of its report replaced."""
    return parse(LoadTestEnded, {**ENDED, "report": {**ENDED["report"], **more}})


@pytest.fixture
def desk(world: World) -> World:
    """The stack that the report is from."""
    object.__setattr__(world.services, "stack", STACK)
    return world


def test_it_is_kept_once_as_json_and_as_a_page(desk: World) -> None:
    first, again = (loadtest.run(ended(), desk.services) for _ in range(2))
    keys = [f"{NAME}/reports/loadtests/20261120T103000Z.{kind}" for kind in ("json", "html")]
    assert [(one.status, one.verdict, one.keys) for one in (first, again)] == [
        ("written", "missed", keys),
        ("exists", "missed", keys),
    ]
    kept = LoadTestReport.model_validate_json(desk.store.read(keys[0], limit=1 << 20))
    assert kept == LoadTestReport.model_validate(ENDED["report"])
    ((name, detail),) = desk.heard.events
    assert (name, detail["verdict"], detail["reasons"]) == (
        "Load Test Completed",
        "missed",
        ["availability-missed"],
    )


def test_of_a_sealed_database_it_names_nothing_and_counts_no_rows(desk: World) -> None:
    desk.registry.known[NAME] = Registration(secret="s", seal_key=KEY)
    told = {"level": "refuse", "object": "public.quetzals", "message": "quetzals differ"}
    rounds = json.loads(json.dumps(ENDED["report"]["rounds"]))
    rounds[0]["proof"] |= {"rows": 987_654, "reasons": [{"code": "digest-differs", **told}]}
    rounds[0]["backup"] |= {"rows": 987_654}
    rounds[0]["restore"] |= {"rows": 987_654}
    rounds.append({"number": 9, "fault": {"code": "object-corrupt", **told}})
    reasons = [{"code": code, **told} for code in ("proof-failed", "object-corrupt")]
    reasons += ENDED["report"]["reasons"]
    saved = loadtest.run(ended(rounds=rounds, reasons=reasons), desk.services)
    for key in saved.keys:
        kept = desk.store.read(key, limit=1 << 20)
        assert b"quetzal" not in kept
        assert b"987654" not in kept
        assert b"987,654" not in kept
        assert b"proof-failed" in kept
        assert ENDED["report"]["reasons"][0]["message"].encode() in kept, "it says nothing of what is sealed"


@pytest.mark.parametrize(
    "changed",
    [{"database": "other"}, {"stack": "other"}, {"verdict": "good"}, {"started": "today"}, {"rounds": None}],
)
def test_what_is_no_report_of_this_database_is_refused(desk: World, changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidEventError):
        loadtest.run(ended(**changed), desk.services)
    assert desk.heard.events == []


def test_nothing_is_kept_of_a_database_that_is_not_registered(desk: World) -> None:
    del desk.registry.known[NAME]
    with pytest.raises(UnknownDatabaseError):
        loadtest.run(ended(), desk.services)


def page(**more: Any) -> Page:
    """The page of the event's report."""
    return Page(load_test_page(LoadTestReport.model_validate({**ENDED["report"], **more})))


def test_the_page_tells_verdict_answers_speed_and_phases() -> None:
    words = page().words
    for told in (
        "objectives missed",
        "availability-missed",
        "https://shop.example.com/health",
        "97.91 %",
        "scratch.example.com:5432",
        "12.0 MB/s",
        "digests equal",
        "equal",
    ):
        assert told in words


def test_what_comes_from_outside_is_no_markup() -> None:
    report = json.loads(json.dumps(ENDED["report"]).replace("https://shop.example.com/health", "HOSTILE"))
    report["watched"][0]["subject"] = HOSTILE
    found = page(**report)
    assert "script" not in {tag for tag, _ in found.seen}
    assert HOSTILE in found.words


def test_less_than_all_never_reads_as_all() -> None:
    assert percent(100) == "100 %"
    assert percent(99.9999) == "99.99 %"
    assert percent(99.3) == "99.3 %"
    assert percent(0) == "0 %"
