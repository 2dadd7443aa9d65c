"""Metrics: CloudWatch's embedded metric format, a line of JSON on standard output for each set of dimensions.

Namespace ``Coffre``, metrics ``BackupAgeSeconds``, ``ProofAgeSeconds`` and ``HealthScore``, and, where the
vault is replicated, ``CopyAgeSeconds`` (of the newest backup whose copy is complete).  Each age also as
``BackupAgePercent``, ``ProofAgePercent`` and ``CopyAgePercent`` of what it may be for this database, since
databases differ in that; where an RTO is set and a restore was measured, ``RtoUsedPercent`` says what a
restore takes of it.  All are printed once with the dimensions ``Stack`` and ``Database`` for each database,
and once with ``Stack`` alone, which holds the worst of all databases: there the template's alarms watch the
score and the percentages.  ``AlarmTest`` raises an alarm once a month.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from coffre.results import HealthReport

NAMESPACE = "Coffre"
NEVER_SECONDS = 10 * 365 * 86_400
"""The age that stands for "there is none": ten years, which is over every threshold."""


def emit_database(report: HealthReport, stack: str) -> None:
    """Print one database's metrics."""
    _emit({"Stack": stack, "Database": report.database}, _worse_when_higher(report), report.score)


def emit_worst(reports: Sequence[HealthReport], stack: str) -> None:
    """Print the worst of all databases.

    Without any nothing is printed: the alarms on ages take silence for a breach.
    """
    if reports:
        worst: dict[str, float] = {}
        for report in reports:
            for name, value in _worse_when_higher(report).items():
                worst[name] = max(value, worst.get(name, 0.0))
        _emit({"Stack": stack}, worst, min(report.score for report in reports))


def emit_alarm_test(stack: str, now: datetime) -> None:
    """Print whether this is the hour of the month in which an alarm is raised to see that somebody hears it.

    The alarm fires at nine (UTC) on the first of the month, and ends an hour later.
    """
    metrics = EphemeralMetrics(namespace=NAMESPACE, dimension_set={"Stack": stack})
    testing = (now.day, now.hour) == (1, 9)
    metrics.add_metric(name="AlarmTest", unit=MetricUnit.NoUnit, value=int(testing))
    metrics.flush_metrics()


def _worse_when_higher(report: HealthReport) -> dict[str, float]:
    """Metrics by name.

    Where proofs are switched off, their age would only drown those of other databases; its share is 0,
    because the alarm takes silence for a breach.
    """
    backup, proof = _age(report.backup_age_seconds), _age(report.proof_age_seconds)
    found = {"BackupAgeSeconds": backup, "BackupAgePercent": _percent(backup, report.rpo_hours)}
    if report.proof_hours is None:
        found["ProofAgePercent"] = 0.0
    else:
        # What can only be proven by sample is overdue when its samples are, as in the score.
        seen = min(proof, _age(report.sample_age_seconds))
        found |= {"ProofAgeSeconds": proof, "ProofAgePercent": _percent(seen, report.proof_hours)}
    if report.copied:
        copy = _age(report.copy_age_seconds)
        found |= {"CopyAgeSeconds": copy, "CopyAgePercent": _percent(copy, report.rpo_hours)}
    if report.restore_seconds is not None and report.rto_minutes is not None:
        found["RtoUsedPercent"] = 100 * report.restore_seconds / (report.rto_minutes * 60)
    return found


def _age(seconds: float | None) -> float:
    return NEVER_SECONDS if seconds is None else seconds


def _percent(seconds: float, hours: float) -> float:
    return 100 * seconds / (hours * 3600)


def _emit(dimensions: Mapping[str, str], values: Mapping[str, float], score: int) -> None:
    # Ephemeral: the other class of Powertools keeps its metrics in the class, across invocations.
    metrics = EphemeralMetrics(namespace=NAMESPACE, dimension_set=dict(dimensions))
    for name, value in values.items():
        unit = MetricUnit.Percent if name.endswith("Percent") else MetricUnit.Seconds
        metrics.add_metric(name=name, unit=unit, value=value)
    metrics.add_metric(name="HealthScore", unit=MetricUnit.NoUnit, value=score)
    metrics.flush_metrics()
