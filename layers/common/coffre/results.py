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
    """The databases whose backups were started."""

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
    """What a restore will do; ``token`` confirms exactly this."""

    action: Literal["plan"] = "plan"
    token: str
    database: str
    backup_id: str
    target: str
    target_database: str
    creates_database: bool
    roles_to_create: list[str]
    tables: int
    rows: int
    bytes: int
    findings: list[Finding]


class RestoreResult(Result):
    """A restore that was run; ``exceptions``: what it had to leave out, if that was accepted."""

    action: Literal["run"] = "run"
    status: Literal["completed"] = "completed"
    database: str
    backup_id: str
    target_database: str
    tables: int
    rows: int
    bytes: int
    seconds: float
    digests_equal: bool
    phases: dict[str, float]
    findings: list[Finding]
    exceptions: list[Finding] = []


class RotateDecision(Result):
    """What happens to one backup, and why."""

    backup_id: str
    action: Literal["keep", "delete"]
    reasons: list[str]
    frees_bytes: int = 0


class RotateReport(Result):
    """One database's rotation."""

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


class HealthResult(Result):
    """The health of all databases that were asked for."""

    databases: list[HealthReport]
