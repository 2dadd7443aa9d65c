"""What the watch over databases and objectives answers."""

from __future__ import annotations

from typing import Literal

from coffre.results.finding import Finding, Result

Met = Literal["met", "missed", "inconclusive"]


class EndpointAnswer(Result):
    """What an endpoint of the application answered.

    Attributes
    ----------
    url:
        Without its query.
    up:
        Whether it answered as it should, in time.
    status:
        The HTTP status; None: there was no answer.
    seconds:
        How long the answer took.
    reason:
        Why it isn't up.
    """

    url: str
    up: bool
    status: int | None
    seconds: float
    reason: str = ""


class HealthReport(Result):
    """One database's health: a score out of 100 and what took points away.

    Attributes
    ----------
    newest_backup, backup_age_seconds:
        Of completed backups that aren't known to be bad: one that failed, for more than exceptions, isn't
        counted.
    proof_hours:
        How old the newest proof may be; None: nothing is to be proven.
    copied:
        Whether the vault has a copy; ``newest_copy`` is the newest backup whose copy is complete.
    """

    database: str
    score: int
    reasons: list[Finding]
    reachable: bool
    server_version: str = ""
    size_bytes: int | None = None
    tables: int | None = None
    newest_backup: str | None = None
    backup_age_seconds: float | None = None
    newest_proof: str | None = None
    proof_age_seconds: float | None = None
    newest_sample: str | None = None
    sample_age_seconds: float | None = None
    copied: bool = False
    newest_copy: str | None = None
    copy_age_seconds: float | None = None
    rpo_hours: float
    proof_hours: float | None = None
    restore_seconds: float | None = None
    rto_minutes: float | None = None
    endpoints: list[EndpointAnswer] = []


class HealthResult(Result):
    """The health of all databases that were asked for."""

    databases: list[HealthReport]


class ObjectivesReport(Result):
    """Which RPO and RTO a database really met in the last ``days``.

    Attributes
    ----------
    exposure_seconds, proven_exposure_seconds:
        The most work that a disaster would have cost, by all backups and by the proven ones; None: there was
        none.
    restore_seconds:
        What a restore of the newest backup takes, as slow as the slowest that was measured; None: none was.
    restore_base_seconds, restore_bytes_per_second:
        The line behind it; no rate if size made no difference.
    """

    database: str
    days: int
    rpo_hours: float
    exposure_seconds: float | None
    proven_exposure_seconds: float | None
    rto_minutes: float | None
    restore_seconds: float | None
    restore_base_seconds: float | None
    restore_bytes_per_second: float | None
    restores_measured: int

    @property
    def rpo_met(self) -> bool:
        """Whether no more than the RPO was ever at stake, by proven backups."""
        exposed = self.proven_exposure_seconds
        return exposed is not None and exposed <= self.rpo_hours * 3600

    @property
    def rto_met(self) -> bool | None:
        """Whether a restore is quick enough; None: nobody said what is, or no restore was measured."""
        if self.rto_minutes is None or self.restore_seconds is None:
            return None
        return self.restore_seconds <= self.rto_minutes * 60

    @property
    def verdict(self) -> Met:
        """Both together: an RTO that nobody set, or that nothing was measured for, isn't met."""
        if not self.rpo_met or self.rto_met is False:
            return "missed"
        return "inconclusive" if self.rto_met is None else "met"
