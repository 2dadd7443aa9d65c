"""The metrics are lines of CloudWatch's embedded metric format, under the names that the alarms watch."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coffre.health.metrics import NEVER_SECONDS, emit_alarm_test, emit_database, emit_worst
from coffre.results import Finding, HealthReport
from localcloud.documents import parse

ROOT = Path(__file__).parents[3]
PROOF_OFF = Finding(level="info", code="proof-off", object="shop", message="backups are not proven")


def report(database: str, score: int, backup: float | None, proof: float | None) -> HealthReport:
    return HealthReport(
        database=database,
        score=score,
        reasons=[],
        reachable=True,
        backup_age_seconds=backup,
        proof_age_seconds=proof,
        rpo_hours=26,
    )


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def values(line: dict[str, Any]) -> dict[str, float]:
    """The metrics that a line declares, each of which must have one value at its top level."""
    (declared,) = line["_aws"]["CloudWatchMetrics"]
    (dimensions,) = declared["Dimensions"]
    assert declared["Namespace"] == "Coffre"
    assert all(isinstance(line[name], str) for name in dimensions)
    names = [metric["Name"] for metric in declared["Metrics"]]
    assert set(line) == {"_aws", *dimensions, *names}
    return {name: line[name][0] for name in names}


def test_a_database_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    emit_database(report("shop", 95, 60, 120), "prod")
    (line,) = lines(capsys)
    assert (line["Stack"], line["Database"]) == ("prod", "shop")
    assert values(line) == {"BackupAgeSeconds": 60, "ProofAgeSeconds": 120, "HealthScore": 95}


def test_a_stack_has_the_worst_of_all_its_databases(capsys: pytest.CaptureFixture[str]) -> None:
    emit_worst([report("a", 95, 60, 900), report("b", 40, 70, 80)], "prod")
    (line,) = lines(capsys)
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Stack"]]
    assert values(line) == {"BackupAgeSeconds": 70, "ProofAgeSeconds": 900, "HealthScore": 40}


def test_no_backup_at_all_is_older_than_any_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    emit_worst([report("a", 20, None, None), report("b", 100, 60, 60)], "prod")
    (line,) = lines(capsys)
    assert values(line)["BackupAgeSeconds"] == values(line)["ProofAgeSeconds"] == NEVER_SECONDS


def test_a_database_that_nobody_wants_proven_does_not_drown_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    off = report("a", 100, 60, None).model_copy(update={"reasons": [PROOF_OFF]})
    emit_worst([off, report("b", 100, 60, 90)], "prod")
    emit_database(off, "prod")
    worst, own = lines(capsys)
    assert values(worst)["ProofAgeSeconds"] == 90
    assert "ProofAgeSeconds" not in values(own)


def test_a_restore_that_grows_past_its_rto_is_the_worst_of_the_stack(
    capsys: pytest.CaptureFixture[str],
) -> None:
    slow = report("a", 90, 60, 60).model_copy(update={"restore_seconds": 66.0, "rto_minutes": 1.0})
    quick = report("b", 100, 60, 60).model_copy(update={"restore_seconds": 6.0, "rto_minutes": 1.0})
    emit_worst([slow, quick, report("c", 100, 60, 60)], "prod")
    (line,) = lines(capsys)
    assert values(line)["RtoUsedPercent"] == pytest.approx(110)
    (unit,) = {m["Unit"] for m in line["_aws"]["CloudWatchMetrics"][0]["Metrics"] if "Rto" in m["Name"]}
    assert unit == "Percent"


def test_a_copy_s_age_is_told_where_the_vault_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    lags = report("a", 80, 60, 60).model_copy(update={"copied": True, "copy_age_seconds": 7200.0})
    lacks = report("b", 80, 60, 60).model_copy(update={"copied": True})
    for reports in ([lags], [lags, lacks]):
        emit_worst(reports, "prod")
    alone, both = lines(capsys)
    assert (values(alone)["CopyAgeSeconds"], values(both)["CopyAgeSeconds"]) == (7200, NEVER_SECONDS)


def test_a_stack_without_databases_is_silent_so_that_the_alarms_fire(
    capsys: pytest.CaptureFixture[str],
) -> None:
    emit_worst([], "prod")
    assert capsys.readouterr().out == ""


def test_an_alarm_is_raised_for_one_hour_of_each_month(capsys: pytest.CaptureFixture[str]) -> None:
    hours = [datetime(2026, 1, 1, 0, 30, tzinfo=UTC) + timedelta(hours=n) for n in range(365 * 24)]
    for hour in hours:
        emit_alarm_test("prod", hour)
    raised = [hour for hour, line in zip(hours, lines(capsys), strict=True) if values(line)["AlarmTest"] == 1]
    assert raised == [datetime(2026, month, 1, 9, 30, tzinfo=UTC) for month in range(1, 13)]


def test_the_alarms_watch_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    measured = {"restore_seconds": 66.0, "rto_minutes": 1.0, "copied": True, "copy_age_seconds": 60.0}
    emit_worst([report("a", 95, 60, 900).model_copy(update=measured)], "prod")
    emit_alarm_test("prod", datetime(2026, 11, 1, tzinfo=UTC))
    worst, test = lines(capsys)
    watched = set()
    for resource in parse((ROOT / "template.yaml").read_text())["Resources"].values():
        properties = resource.get("Properties", {})
        metrics = [
            entry["MetricStat"]["Metric"] for entry in properties.get("Metrics", []) if "MetricStat" in entry
        ]
        for metric in [properties, *metrics]:
            if metric.get("Namespace") == "Coffre":
                assert [entry["Name"] for entry in metric["Dimensions"]] == ["Stack"]
                watched.add(metric["MetricName"])
    assert watched == set(values(worst)) | set(values(test))
