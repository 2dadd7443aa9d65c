"""What verifications and proofs answer."""

from __future__ import annotations

from typing import Literal

from coffre.events import Verdict
from coffre.results.finding import Finding, Result


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
