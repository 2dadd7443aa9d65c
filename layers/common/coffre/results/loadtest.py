"""What a load test asks, measures and says."""

from __future__ import annotations

from typing import Literal

from pydantic import computed_field

from coffre.events.base import Verdict
from coffre.results.finding import Finding, Result
from coffre.results.health import EndpointAnswer, Met, ObjectivesReport

SubjectKind = Literal["endpoint", "source"]
Stage = Literal["baseline", "backup", "proof", "restore"]
PartName = Literal["integrity", "RPO", "RTO", "availability", "source"]
PartVerdict = Literal["met", "missed", "inconclusive", "not measured"]


class SourceAnswer(Result):
    """Whether the source took a new session and answered `SELECT 1`, in time."""

    up: bool
    seconds: float
    reason: str = ""


class ProbeResult(Result):
    """What the application's endpoints and the source answered at one moment.

    Attributes
    ----------
    endpoints:
        One for each that is registered; None: it couldn't be asked, which says nothing about it.
    source:
        None: it couldn't be asked.
    """

    database: str
    endpoints: list[EndpointAnswer | None]
    source: SourceAnswer | None


class Span(Result):
    """How one endpoint, or the source, answered for a while.

    Attributes
    ----------
    asked, right:
        Moments, one each interval: an answer that took several intervals stands for as many of them.
    median_seconds, slowest_seconds:
        Of the questions that were put, those without an answer included; None: none was.
    outage_seconds:
        The longest time from a wrong answer to the next right one.
    reason:
        What was wrong with the first wrong answer.
    """

    asked: int = 0
    right: int = 0
    median_seconds: float | None = None
    slowest_seconds: float | None = None
    outage_seconds: float = 0.0
    reason: str = ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def percent(self) -> float | None:
        """The share of right answers, in percent; None: nothing was asked."""
        return round(100 * self.right / self.asked, 4) if self.asked else None


class Point(Result):
    """A piece of a load test's time: the slowest answer in it, and how many were wrong."""

    at: float
    seconds: float
    wrong: int = 0


class Watched(Result):
    """One endpoint, or the source, before and during the test.

    Attributes
    ----------
    baseline, meanwhile:
        Before the test, and from its beginning to its end.
    stages:
        The same as ``meanwhile``, by what was going on.
    points:
        For a picture: at most some hundred, in seconds from the beginning of the baseline.
    """

    subject: str
    kind: SubjectKind
    baseline: Span
    meanwhile: Span
    stages: dict[Stage, Span]
    points: list[Point]


class Work(Result):
    """How long something took, in all and by phase where that is known, and how much it was."""

    seconds: float
    rows: int
    bytes: int
    phases: dict[str, float] = {}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def bytes_per_second(self) -> int | None:
        """Bytes of rows a second."""
        return round(self.bytes / self.seconds) if self.seconds else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def rows_per_second(self) -> int | None:
        """Rows a second; None also where the number of rows is left out."""
        return round(self.rows / self.seconds) if self.seconds and self.rows else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def phases_bytes_per_second(self) -> dict[str, int]:
        """Bytes of rows a second in the phases that go through all rows."""
        through = {name: self.phases[name] for name in ("rows", "digests") if self.phases.get(name)}
        return {name: round(self.bytes / seconds) for name, seconds in through.items()}


class TestedBackup(Work):
    """A backup of a load test; ``new_bytes`` is what it stored that the vault didn't hold."""

    backup_id: str
    root_hash: str
    relations: int
    new_bytes: int
    where: str = ""


class TestedProof(Result):
    """The verdict on a load test's backup, and what was compared for it."""

    verdict: Verdict
    seconds: float
    phases: dict[str, float] = {}
    tables: int = 0
    rows: int = 0
    digests: int = 0
    reasons: list[Finding] = []


class TestedRestore(Work):
    """A restore of a load test.

    Attributes
    ----------
    server:
        Where to: a scratch server, or the embedded one of a proof.
    """

    server: str
    kind: Literal["drill", "proof"]
    tables: int
    digests_equal: bool


class Round(Result):
    """A backup, its proof and a restore; ``fault`` is why the rest of it is missing."""

    number: int
    backup: TestedBackup | None = None
    proof: TestedProof | None = None
    restore: TestedRestore | None = None
    fault: Finding | None = None


class TimeSpent(Result):
    """When a stage went on, in seconds from the beginning of the baseline."""

    stage: Stage
    round: int
    began: float
    ended: float


class Part(Result):
    """One of the things that a load test judges.

    Attributes
    ----------
    allowed, measured:
        The objective, and the worst that was measured; None: there is no objective, or nothing was measured.
        An RPO and an RTO are the most seconds that are allowed, the others the least percent.
    """

    name: PartName
    verdict: PartVerdict
    unit: Literal["seconds", "percent"]
    allowed: float | None
    measured: float | None


class LoadTestReport(Result):
    """A load test.

    Attributes
    ----------
    interval_seconds:
        How often everything was asked.
    verdict:
        ``met`` only if every part is: what wasn't measured, or has no objective, makes it ``inconclusive``.
    reasons:
        Why it isn't ``met``, and what else should be known.
    unasked:
        Moments at which the question couldn't be put: they say nothing.
    """

    format: Literal[1] = 1
    stack: str
    database: str
    started: str
    completed: str
    rounds_asked: int
    interval_seconds: float
    verdict: Met
    parts: list[Part]
    reasons: list[Finding]
    rounds: list[Round]
    watched: list[Watched]
    unasked: int
    stages: list[TimeSpent]
    objectives: ObjectivesReport


class SavedLoadTest(Result):
    """A load test's report in the vault."""

    database: str
    status: Literal["written", "exists"]
    verdict: Met
    keys: list[str]
