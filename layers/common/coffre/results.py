"""What functions answer, as typed models: the `coffre` command and the state of the world rely on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from coffre.events import Verdict


class Result(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)

    def answer(self) -> dict[str, Any]:
        """The answer as JSON values, for a handler to return."""
        return self.model_dump(mode="json")


class Finding(Result):
    """Something that a preflight, a proof or a plan found; ``count`` rows or objects, where that is known."""

    level: Literal["refuse", "warn", "info"]
    code: str
    object: str
    message: str
    advice: str = ""
    count: int | None = None


LISTED = 100
SHOWN = 1500
"""An event holds 256 KB at most (Amazon EventBridge quotas)."""


def listed(findings: Sequence[Finding]) -> list[Finding]:
    """As many findings as an event can hold, with a last one that says how many more there are."""
    shown = [
        found if len(found.message) <= SHOWN else found.model_copy(update={"message": found.message[:SHOWN]})
        for found in findings[:LISTED]
    ]
    more = len(findings) - LISTED
    if more <= 0:
        return shown
    message = f"and {more} more findings"
    grave = any(found.level == "refuse" for found in findings[LISTED:])
    level: Literal["refuse", "info"] = "refuse" if grave else "info"
    return [*shown, Finding(level=level, code="more", object="", message=message, count=more)]


class BackupResult(Result):
    """A backup that was taken, skipped because it exists, or only checked."""

    database: str
    backup_id: str
    status: Literal["completed", "skipped", "checked"]
    rows: int = 0
    bytes: int = 0
    stored_bytes: int = 0
    new_bytes: int = 0
    chunks: int = 0
    new_chunks: int = 0
    relations: int = 0
    seconds: float = 0.0
    root_hash: str = ""
    findings: list[Finding] = []


class FanOutResult(Result):
    """The databases for which a backup, or a drill, was started."""

    started: list[str]


class Compared(Result):
    """How much a proof compared.  Zero things compared is a failure."""

    tables: int = 0
    rows: int = 0
    digests: int = 0
    sequences: int = 0
    constraints: int = 0
    indexes: int = 0
    materialized_views: int = 0
    large_objects: int = 0
    grants: int = 0
    comments: int = 0
    roles: int = 0
    memberships: int = 0
    generated: int = 0
    checks: int = 0


class ProofReport(Result):
    """What `prove` found: the verdict, why, and what was compared."""

    verdict: Verdict
    reasons: list[Finding]
    compared: Compared
    server_version: str
    phases: dict[str, float]


class UpgradeReport(Result):
    """What a restore on a newer major version found: whether the database is ready for it, or what isn't."""

    major: int
    verdict: Literal["upgrade-ready", "upgrade-blocked", "inconclusive"]
    reasons: list[Finding]
    compared: Compared
    server_version: str


class VerifyResult(Result):
    """A backup's verdict."""

    database: str
    backup_id: str
    verdict: Verdict
    reasons: list[Finding]
    root_hash: str
    completed: str
    tables: int
    rows: int
    bytes: int
    compared: Compared
    evidence: str
    seconds: float
    upgrade: UpgradeReport | None = None


class RestorePlan(Result):
    """What a restore will do; ``token`` confirms exactly this, once, until ``expires``.

    Attributes
    ----------
    kept_as:
        Mode ``swap``: the name that the database in place will have.
    safety_backup:
        Mode ``swap``: the registered database that is backed up first.
    sessions:
        Mode ``swap``: how many sessions are open with the database in place; they will be ended.
    estimate_seconds:
        How long it will take, by ``estimate_basis``; None if nothing was measured.
    """

    action: Literal["plan"] = "plan"
    mode: Literal["new", "swap"] = "new"
    token: str
    expires: str = ""
    database: str
    backup_id: str
    target: str
    target_database: str
    creates_database: bool
    kept_as: str | None = None
    safety_backup: str | None = None
    sessions: int = 0
    roles_to_create: list[str]
    roles_mapped: dict[str, str] = {}
    tables: int
    rows: int
    bytes: int
    estimate_seconds: float | None = None
    estimate_basis: str = ""
    findings: list[Finding]


class RestoreResult(Result):
    """A restore that was run.

    ``kept_as`` is the name of the database that it replaced; ``exceptions`` what it had to leave out, if
    that was accepted.
    """

    action: Literal["run"] = "run"
    mode: Literal["new", "swap"] = "new"
    status: Literal["completed"] = "completed"
    database: str
    backup_id: str
    target_database: str
    kept_as: str | None = None
    safety_backup: str | None = None
    tables: int
    rows: int
    bytes: int
    seconds: float
    digests_equal: bool
    phases: dict[str, float]
    findings: list[Finding]
    exceptions: list[Finding] = []


class UndoPlan(Result):
    """Which database an undo puts back; ``token`` confirms exactly this, once, until ``expires``.

    Attributes
    ----------
    comes_back:
        The database that gets the name ``target_database`` back.
    kept_as:
        The name that the one in place will have; None if there is none.
    """

    action: Literal["plan"] = "plan"
    mode: Literal["undo"] = "undo"
    token: str
    expires: str = ""
    database: str
    target: str
    target_database: str
    comes_back: str
    replaced_at: str
    kept_as: str | None
    sessions: int
    findings: list[Finding] = []


class UndoResult(Result):
    """A swap that was undone."""

    action: Literal["run"] = "run"
    mode: Literal["undo"] = "undo"
    status: Literal["completed"] = "completed"
    database: str
    target_database: str
    came_back: str
    kept_as: str | None
    seconds: float


class RotateDecision(Result):
    """What happens to one backup, and why; ``locked_until`` is when Object Lock lets it go."""

    backup_id: str
    action: Literal["keep", "delete"]
    reasons: list[str]
    frees_bytes: int = 0
    locked_until: str | None = None


class RotateReport(Result):
    """One database's rotation.

    Attributes
    ----------
    immutable:
        The bucket's Object Lock, ``GOVERNANCE`` or ``COMPLIANCE``; None: nothing in it is immutable.
    locked_objects, locked_bytes, locked_until:
        What would be purged but for its lock, and the last date of those locks.
    extended:
        Backups whose lock is made longer, because a tier keeps them for longer than it lasts.
    quarantined_chunks, doubted:
        Damaged chunks that are put aside, and the backups whose proof that makes doubtful.
    """

    database: str
    dry_run: bool
    decisions: list[RotateDecision]
    marked_chunks: int = 0
    marked_bytes: int = 0
    purged_chunks: int = 0
    purged_bytes: int = 0
    waiting_chunks: int = 0
    waiting_bytes: int = 0
    orphans: int = 0
    immutable: str | None = None
    locked_objects: int = 0
    locked_bytes: int = 0
    locked_until: str | None = None
    extended: list[str] = []
    quarantined_chunks: int = 0
    doubted: list[str] = []


class HoldResult(Result):
    """A backup's holds after one was put or all were released.

    Attributes
    ----------
    holds:
        Those that stand now, as phrases.
    objects:
        How many objects' legal holds were set or lifted.
    """

    database: str
    backup_id: str
    holds: list[str]
    objects: int = 0


class DrillResult(Result):
    """A rehearsed restore.

    Attributes
    ----------
    seconds, phases:
        How long it took, in all and each part of it.
    kept_as:
        The database that was left on the scratch server; None: it was dropped.
    """

    database: str
    backup_id: str
    status: Literal["completed"] = "completed"
    server: str
    kept_as: str | None
    rows: int
    bytes: int
    seconds: float
    phases: dict[str, float]
    digests_equal: bool
    findings: list[Finding]


class RecheckReport(Result):
    """What re-reading one database's chunks found; its slices are the 256 first bytes of a chunk's id."""

    database: str
    chunks: int
    bytes: int
    slices_done: int
    slices_due: int
    round_started: str
    findings: list[Finding]


class RecheckResult(Result):
    """The re-reading of all databases that were asked for."""

    reports: list[RecheckReport]


class RotateResult(Result):
    """The rotation of all databases that were asked for; ``failed`` maps the others to their errors."""

    reports: list[RotateReport]
    failed: dict[str, str] = {}


class HealthReport(Result):
    """One database's health: a score out of 100 and what took points away."""

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
    rpo_hours: float
    restore_seconds: float | None = None
    rto_minutes: float | None = None


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


class HealthResult(Result):
    """The health of all databases that were asked for."""

    databases: list[HealthReport]
