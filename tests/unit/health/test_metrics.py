"""The metrics are lines of CloudWatch's embedded metric format, under the names that the alarms watch."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coffre.health.metrics import NEVER_SECONDS, emit_alarm_test, emit_database, emit_worst
from coffre.results import HealthReport
from localcloud.documents import parse

ROOT = Path(__file__).parents[3]
HOUR = 3600.0


def report(database: str, score: int, backup: float | None, proof: float | None, **more: Any) -> HealthReport:
    given = {"rpo_hours": 25, "proof_hours": 50, **more}
    return HealthReport(
        database=database,
        score=score,
        reasons=[],
        reachable=True,
        backup_age_seconds=backup,
        proof_age_seconds=proof,
        **given,
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
    emit_database(report("shop", 95, 5 * HOUR, 10 * HOUR), "prod")
    (line,) = lines(capsys)
    assert (line["Stack"], line["Database"]) == ("prod", "shop")
    assert values(line) == {
        "BackupAgeSeconds": 5 * HOUR,
        "BackupAgePercent": 20,
        "ProofAgeSeconds": 10 * HOUR,
        "ProofAgePercent": 20,
        "HealthScore": 95,
    }


def test_a_stack_has_the_worst_of_all_its_databases(capsys: pytest.CaptureFixture[str]) -> None:
    emit_worst([report("a", 95, 60, 900), report("b", 40, 70, 80)], "prod")
    (line,) = lines(capsys)
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Stack"]]
    found = values(line)
    assert (found["BackupAgeSeconds"], found["ProofAgeSeconds"], found["HealthScore"]) == (70, 900, 40)


def test_an_age_counts_by_what_it_may_be_for_its_own_database(capsys: pytest.CaptureFixture[str]) -> None:
    weekly = report("a", 100, 150 * HOUR, 150 * HOUR, rpo_hours=200, proof_hours=200)
    hourly = report("b", 100, 3 * HOUR, 3 * HOUR, rpo_hours=2, proof_hours=2)
    emit_worst([weekly], "prod")
    emit_worst([weekly, hourly], "prod")
    alone, both = map(values, lines(capsys))
    assert (alone["BackupAgePercent"], alone["ProofAgePercent"]) == (75, 75)
    assert (both["BackupAgePercent"], both["ProofAgePercent"]) == (150, 150), "the younger one is overdue"
    assert both["BackupAgeSeconds"] == 150 * HOUR


@pytest.mark.parametrize(
    ("proof", "sample", "percent"), [(None, 5.0, 10), (60.0, 5.0, 10), (None, 55.0, 110), (60.0, 55.0, 110)]
)
def test_where_only_samples_can_be_proven_the_newest_one_counts(
    proof: float | None, sample: float, percent: float, capsys: pytest.CaptureFixture[str]
) -> None:
    proof_age = proof and proof * HOUR
    emit_worst([report("a", 90, HOUR, proof_age, sample_age_seconds=sample * HOUR)], "prod")
    (found,) = map(values, lines(capsys))
    assert found["ProofAgePercent"] == pytest.approx(percent)
    assert found["ProofAgeSeconds"] == (proof_age or NEVER_SECONDS), "a sample is no proof"


def test_no_backup_at_all_is_older_than_any_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    emit_worst([report("a", 20, None, None), report("b", 100, 60, 60)], "prod")
    (line,) = lines(capsys)
    found = values(line)
    assert found["BackupAgeSeconds"] == found["ProofAgeSeconds"] == NEVER_SECONDS
    assert min(found["BackupAgePercent"], found["ProofAgePercent"]) > 100


def test_a_database_that_nobody_wants_proven_does_not_drown_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    off = report("a", 100, 60, None, proof_hours=None)
    emit_worst([off, report("b", 100, 60, 90)], "prod")
    emit_database(off, "prod")
    worst, own = lines(capsys)
    assert values(worst)["ProofAgeSeconds"] == 90
    assert values(worst)["ProofAgePercent"] > 0
    assert "ProofAgeSeconds" not in values(own)


def test_a_stack_in_which_nothing_is_to_be_proven_keeps_the_alarm_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Silence is a breach: the alarm on proofs must hear that there is nothing to wait for."""
    emit_worst([report(name, 100, 60, None, proof_hours=None) for name in "ab"], "prod")
    (found,) = map(values, lines(capsys))
    assert found["ProofAgePercent"] == 0
    assert "ProofAgeSeconds" not in found


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
    assert (values(alone)["CopyAgePercent"], values(both)["CopyAgePercent"] > 100) == (8, True)


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
    ages = {name for name in values(worst) if name.endswith("AgeSeconds")}
    assert watched == (set(values(worst)) | set(values(test))) - ages, "an age alone says nothing"
