"""Put a load test's report together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coffre.databases.registration import Registration
from coffre.loadtest.judge import Measured, judge
from coffre.loadtest.samples import Sample, watched
from coffre.results import LoadTestReport, ObjectivesReport, Round, TimeSpent


@dataclass(frozen=True)
class Asked:
    """What was to be tested; ``started`` as `coffre.ids.stamp` writes it."""

    stack: str
    database: str
    registration: Registration
    started: str
    rounds: int
    interval: float


def write_up(
    asked: Asked,
    rounds: Sequence[Round],
    objectives: ObjectivesReport,
    samples: Sequence[Sample],
    stages: Sequence[TimeSpent],
    unasked: int,
    *,
    ended: str,
) -> LoadTestReport:
    """The report, with its verdict.

    Parameters
    ----------
    objectives:
        Of the last days, this test's backups and restores included.
    samples:
        All answers in the order of their time; what is missing is counted by ``unasked``.
    """
    seen = watched(samples)
    measured = Measured(
        rounds_asked=asked.rounds,
        rounds=rounds,
        objectives=objectives,
        endpoints=len(asked.registration.endpoints),
        availability=asked.registration.availability_percent,
        watched=seen,
        stages=frozenset(one.stage for one in stages if one.stage != "baseline"),
        unasked=unasked,
    )
    verdict, parts, reasons = judge(measured)
    return LoadTestReport(
        stack=asked.stack,
        database=asked.database,
        started=asked.started,
        completed=ended,
        rounds_asked=asked.rounds,
        interval_seconds=asked.interval,
        verdict=verdict,
        parts=parts,
        reasons=reasons,
        rounds=list(rounds),
        watched=seen,
        unasked=unasked,
        stages=list(stages),
        objectives=objectives,
    )
