"""What a month's report says, and what writing it answers."""

from __future__ import annotations

from typing import Literal

from coffre.results.finding import Finding, Result
from coffre.results.health import Met, ObjectivesReport
from coffre.results.verify import UpgradeVerdict


class ReportedDay(Result):
    """One day (UTC) of a database.

    Attributes
    ----------
    taken, failed:
        Backups of that day that were completed (some may be rotated away since), and that failed.
    proven, refuted, inconclusive:
        Verdicts of those that were completed; ``refuted`` is the verdict ``failed``.
    bytes:
        Rows of the last one, as COPY text; None: there was none.
    new_bytes:
        What all of them stored anew.
    lowest_score, mean_score:
        Health; None: nobody reported.
    """

    date: str
    taken: int = 0
    failed: int = 0
    proven: int = 0
    refuted: int = 0
    inconclusive: int = 0
    bytes: int | None = None
    new_bytes: int = 0
    lowest_score: float | None = None
    mean_score: float | None = None


class ReportedRestore(Result):
    """A restore, drill, undo or proof of the month; ``exceptions`` is how much it left out, with consent."""

    time: str
    kind: str
    status: str
    backup_id: str
    bytes: int
    seconds: float
    exceptions: int = 0
    error_code: str | None = None


class ReportedRehearsal(Result):
    """An upgrade that was rehearsed in the month; see `UpgradeReport`.

    Attributes
    ----------
    findings, first:
        How many things stand in the way or leave a doubt, and the gravest of them.
    """

    time: str
    backup_id: str
    from_version: str
    major: int
    verdict: UpgradeVerdict
    findings: int
    first: Finding | None
    evidence: str


class ReportedCost(Result):
    """What the vault costs: current objects at the list price, without requests and hidden versions."""

    dollars_per_month: float
    dollars_per_gb_month: float
    region: str
    as_of: str


class ReportedVault(Result):
    """What the vault held of a database at that moment; versions behind delete markers excluded."""

    at: str
    objects: int
    bytes: int


class MonthlyReport(Result):
    """One database's month.  All times are UTC; months and days are UTC's.

    Attributes
    ----------
    complete:
        The month was over when this was written.
    newest_backup, newest_proof:
        The newest one at the end of the month; None: there was none.
    size_first, size_last:
        Bytes of rows of the month's first and last backup.
    copied_bytes, new_bytes:
        Bytes of rows of all backups of the month, and what was stored for them after deduplication and
        compression.
    rotated, freed_bytes:
        Backups that rotation deleted in the month, and what that frees.
    restores:
        The newest ones, at most a hundred, and as many proofs; ``restores_left_out`` counts the others.
    proofs:
        How many of all were proofs.
    rehearsals:
        The newest upgrades that were rehearsed, at most a hundred; none of them counts as a proof.
    sampled:
        How many of the inconclusive ones were proven by sample.
    verdict:
        Whether the objectives were met; ``inconclusive`` if one isn't set or nothing was measured for it.
    vault, vault_before:
        When this was written, and when the report on the month before was; None: there is no such report.
    recheck_slices, recheck_started:
        How many of 256 slices the round of reading again had done, and since when; None: never.
    damage:
        Backups of which something was found damaged or gone.
    exceptions:
        What proofs of the month's backups couldn't restore; ``count`` is the number of backups.
    lowest_score, mean_score:
        Health; None: no day has a score.  There is a mean only if every day has one: nobody knows how the
        database was on the others.
    scored_days, scored_of:
        How many days have a score, of how many that are over or have one.
    """

    format: Literal[1] = 1
    stack: str
    database: str
    month: str
    begins: str
    ends: str
    written: str
    complete: bool
    taken: int
    failed: int
    by_type: dict[str, int]
    proven: int
    refuted: int
    inconclusive: int
    unverified: int
    newest_backup: str | None
    newest_proof: str | None
    size_first: int | None
    size_last: int | None
    copied_bytes: int
    new_bytes: int
    rotated: int
    freed_bytes: int
    restores: list[ReportedRestore]
    restores_left_out: int
    proofs: int = 0
    verdict: Met
    objectives: ObjectivesReport
    vault: ReportedVault
    vault_before: ReportedVault | None
    recheck_slices: int | None
    recheck_started: str | None
    damage: list[Finding]
    exceptions: list[Finding]
    sampled: int = 0
    rehearsals: list[ReportedRehearsal] = []
    lowest_score: float | None
    mean_score: float | None
    scored_days: int = 0
    scored_of: int = 0
    cost: ReportedCost
    days: list[ReportedDay]


class WrittenReport(Result):
    """A database's report.

    Attributes
    ----------
    status:
        ``written`` now, ``exists`` since an earlier run, or ``unfinished``: the month isn't over, so nothing
        was written.
    report:
        The report itself; None in an answer about all databases.
    """

    database: str
    month: str
    status: Literal["written", "exists", "unfinished"]
    keys: list[str]
    report: MonthlyReport | None = None


class ReportResult(Result):
    """The reports of all databases that were asked for; ``failed`` maps the others to their errors."""

    reports: list[WrittenReport]
    failed: dict[str, str] = {}


class ProtocolResult(Result):
    """The protocol of an exercise, written into the vault."""

    database: str
    status: Literal["written", "exists"]
    keys: list[str]
