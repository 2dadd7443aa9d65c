"""What verifications and proofs answer."""

from __future__ import annotations

from typing import Literal

from coffre.events.base import Verdict
from coffre.results.finding import Finding, Named, Result


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


SAMPLED = "sampled"
"""The code of the reason that makes a sample inconclusive."""


class Sample(Result):
    """How much of a backup that is too large for the proof's disk was restored.

    Attributes
    ----------
    tables, bytes:
        Whose rows were restored, and the bytes of these; ``of_tables`` and ``of_bytes`` are the backup's.
    large_objects:
        How many were not restored.
    names:
        The tables, as many as fit.
    """

    tables: int
    of_tables: int
    bytes: int
    of_bytes: int
    large_objects: int = 0
    names: list[Named] = []

    @property
    def summary(self) -> str:
        """In words, for example ``sampled 3 of 7 tables, 41.2 %``; the share is rounded down."""
        share = self.bytes * 1000 // self.of_bytes / 10 if self.of_bytes else 100
        tables = f"{self.tables} of {self.of_tables} tables, " if self.of_tables else ""  # of a sealed one
        return f"sampled {tables}{share:g} %"


class ProofReport(Result):
    """What `prove` found: the verdict, why, and what was compared; ``sample``: of how much, if not of all."""

    verdict: Verdict
    reasons: list[Finding]
    compared: Compared
    server_version: str
    phases: dict[str, float]
    sample: Sample | None = None


UpgradeVerdict = Literal["upgrade-ready", "upgrade-blocked", "inconclusive"]


class UpgradeReport(Result):
    """What a restore on a newer major version found: whether the database is ready for it, or what isn't.

    Attributes
    ----------
    major, server_version:
        What it was restored on; the version is empty if it wasn't.
    from_version:
        The source's version, for example ``16.14``.
    rehearsed, evidence:
        When, and where what was found is kept.
    """

    major: int
    verdict: UpgradeVerdict
    reasons: list[Finding]
    compared: Compared
    server_version: str
    from_version: str = ""
    rehearsed: str = ""
    evidence: str = ""


class Rehearsal(Result):
    """An upgrade that was rehearsed with a backup, as the vault keeps it.

    Attributes
    ----------
    sealed:
        Only of a sealed backup: all of this, sealed, in base64.
    """

    database: str
    backup_id: str
    root_hash: str
    upgrade: UpgradeReport
    sealed: str | None = None


class VerifyResult(Result):
    """A backup's verdict.

    Attributes
    ----------
    phases:
        Seconds by phase of the restore that proved it, if there was one.
    sample:
        How much was restored for it, if not all.
    sealed:
        Only in evidence about a sealed backup: all of this, sealed, in base64.
    """

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
    phases: dict[str, float] = {}
    sample: Sample | None = None
    upgrade: UpgradeReport | None = None
    sealed: str | None = None


CopyVerdict = Literal["complete", "pending", "incomplete"]
CopyCompared = Literal["size", "checksum", "content"]


class CopyResult(Result):
    """Whether a backup's copy in the second vault is complete.

    Attributes
    ----------
    bucket:
        The second vault.
    objects, bytes:
        How much was looked for.
    pending, lacking:
        Objects that are still being replicated, and objects that won't come by themselves.
    by:
        What was compared: sizes of chunks, their stored checksums as well, or everything by reading it.
        Files and parts are always compared by checksum, the manifest byte by byte.
    checked, evidence:
        When, and where what was found is kept; empty if nothing has changed since the last check.
    """

    database: str
    backup_id: str
    verdict: CopyVerdict
    bucket: str
    reasons: list[Finding]
    objects: int
    bytes: int
    pending: int
    lacking: int
    root_hash: str
    by: CopyCompared
    checked: str = ""
    evidence: str = ""
    seconds: float = 0

    @property
    def summary(self) -> str:
        """The verdict with its numbers, for example ``pending: 3 objects``."""
        if self.verdict == "complete":
            return f"complete by {self.by}: {self.objects} objects"
        if self.verdict == "pending":
            return f"pending: {self.pending} objects"
        first = next((reason.message for reason in self.reasons if reason.level == "refuse"), "")
        return f"incomplete: {first}"


class CopiesResult(Result):
    """The copies that were checked."""

    copies: list[CopyResult]


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
