"""`coffre report` as its user sees it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from coffre.results import MonthlyReport, ObjectivesReport, ReportedCost, ReportedDay, ReportedVault
from coffre_cli import reports
from tests.unit.cli.conftest import BACKUP, World


def report(**more: Any) -> dict[str, Any]:
    """What the function answers."""
    met = ObjectivesReport(
        database="shop",
        days=30,
        rpo_hours=26,
        exposure_seconds=90_000,
        proven_exposure_seconds=91_000,
        rto_minutes=None,
        restore_seconds=41.5,
        restore_base_seconds=1,
        restore_bytes_per_second=1e6,
        restores_measured=3,
    )
    fields: dict[str, Any] = {
        "stack": "coffre-test",
        "database": "shop",
        "month": "2026-11",
        "begins": "2026-11-01T00:00:00.000000Z",
        "ends": "2026-12-01T00:00:00.000000Z",
        "written": "2026-12-02T08:00:00.000000Z",
        "complete": True,
        "taken": 30,
        "failed": 2,
        "by_type": {"daily": 30},
        "proven": 28,
        "refuted": 1,
        "inconclusive": 1,
        "unverified": 0,
        "newest_backup": BACKUP,
        "newest_proof": BACKUP,
        "size_first": 1_000_000,
        "size_last": 2_000_000,
        "copied_bytes": 45_000_000,
        "new_bytes": 3_000_000,
        "rotated": 7,
        "freed_bytes": 1000,
        "restores": [],
        "restores_left_out": 0,
        "verdict": met.verdict,
        "objectives": met,
        "vault": ReportedVault(at="2026-12-02T08:00:00.000000Z", objects=123, bytes=9_000_000),
        "vault_before": None,
        "recheck_slices": None,
        "recheck_started": None,
        "damage": [],
        "exceptions": [],
        "lowest_score": None,
        "mean_score": None,
        "cost": ReportedCost(
            dollars_per_month=0.2, dollars_per_gb_month=0.023, region="us-east-1", as_of="2026-11"
        ),
        "days": [ReportedDay(date=f"2026-11-{day:02}", taken=1) for day in range(1, 31)],
    }
    found = MonthlyReport.model_validate(fields).answer()
    one = {"database": "shop", "month": "2026-11", "status": "written", "keys": [], "report": found, **more}
    return {"reports": [one], "failed": {}}


def test_a_report_is_asked_for_and_shown(world: World) -> None:
    world.functions.answers["report"] = lambda _: report()
    outcome = world.run("report", "shop", "--month", "2025-11")
    assert outcome.code == 0
    assert world.functions.calls == [("report", {"database": "shop", "month": "2025-11"}, True)]
    for words in ("written into the vault now", "inconclusive", "30 completed, 2 failed, 7 rotated away"):
        assert words in outcome.out
    world.run("report", "shop")
    assert world.functions.calls[-1][1] == {"database": "shop"}


def test_samples_are_told_beside_the_verdicts(world: World) -> None:
    answer = report()
    answer["reports"][0]["report"] |= {"inconclusive": 5, "sampled": 4}
    world.functions.answers["report"] = lambda _: answer
    assert "5 inconclusive (4 by sample)" in " ".join(world.run("report", "shop").out.split())


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ({"scored_days": 0}, "scores of 0 of 30 days"),
        ({"scored_days": 23, "lowest_score": 98.0}, "98 at the lowest; scores of 23 of 30 days"),
        ({"scored_days": 30, "lowest_score": 98.0, "mean_score": 99.0}, "98 at the lowest, 99 on average"),
    ],
)
def test_scores_say_of_how_many_days_they_are(world: World, numbers: dict[str, Any], told: str) -> None:
    answer = report()
    answer["reports"][0]["report"] |= {"scored_of": 30, **numbers}
    world.functions.answers["report"] = lambda _: answer
    assert f"health {told} " in re.sub(r"\s+", " ", world.run("report", "shop").out)


def test_upgrades_that_were_rehearsed_are_listed(world: World) -> None:
    answer = report()
    one = {"time": "2026-11-20T04:00:00.000000Z", "backup_id": BACKUP, "from_version": "16.14", "major": 18}
    more = {"verdict": "upgrade-ready", "findings": 0, "first": None, "evidence": "shop/upgrades/x.json"}
    answer["reports"][0]["report"] |= {"rehearsals": [one | more]}
    world.functions.answers["report"] = lambda _: answer
    told = " ".join(world.run("report", "shop").out.split())
    assert f"2026-11-20 04:00:00 UTC 16.14 to 18 upgrade-ready {BACKUP}" in told


def test_a_month_in_which_nothing_was_proven_or_restored_says_so(world: World) -> None:
    answer = report()
    answer["reports"][0]["report"]["objectives"] |= {"proven_exposure_seconds": None}
    world.functions.answers["report"] = lambda _: answer
    told = " ".join(world.run("report", "shop").out.split())
    assert "RPO missed, nothing is proven" in told
    assert "no drill and no restore" in told


def test_programs_get_one_document(world: World) -> None:
    world.functions.answers["report"] = lambda _: report()
    document = world.run("report", "shop", "--json").document
    assert (document["report"]["verdict"], document["report"]["vault"]["objects"]) == ("inconclusive", 123)


def test_the_page_can_be_kept(world: World, tmp_path: Path) -> None:
    world.functions.answers["report"] = lambda _: report(status="unfinished")
    outcome = world.run("report", "shop", "--html", str(tmp_path / "page.html"))
    assert "the month isn't over" in outcome.out
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_a_page_that_cannot_be_written_is_told_before_anything_is_asked(world: World) -> None:
    outcome = world.run("report", "shop", "--html", "/nonexistent/x.html", "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "bad-usage")
    assert world.functions.calls == []


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "november", "2026-11\n"])
def test_what_is_no_month_is_refused_before_anything_is_asked(world: World, month: str) -> None:
    assert world.run("report", "shop", "--month", month).code == 2
    assert world.functions.calls == []


def test_a_month_that_has_not_begun_is_refused_and_the_present_one_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.functions.answers["report"] = lambda _: report(status="unfinished")
    monkeypatch.setattr(reports, "utc_now", lambda: datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert world.run("report", "shop", "--month", "2026-12").code == 0
    outcome = world.run("report", "shop", "--month", "2027-01")
    assert (outcome.code, "hasn't begun" in outcome.err) == (2, True)
    assert len(world.functions.calls) == 1
