"""What the catalogue knows: backups, runs, leases, and who did what."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Literal, TypeVar

from coffre.events.base import Verdict
from coffre.ids import BackupType
from coffre.results import SAMPLED, CopyCompared, CopyVerdict, Finding, UpgradeVerdict

Status = Literal["pending", "in_progress", "completed", "failed", "deleted"]
RunKind = Literal["backup", "verify", "restore", "rotate"]
RestoreKind = Literal["new", "swap", "tables", "undo", "proof", "drill"]

NEWEST_RESTORES = 2000
"""That are looked at for what a restore takes: with a proof each hour, those of nearly three months."""

_EXCEPTIONS = ("exception-", "restores-with-exceptions")
"""How the codes of `coffre.databases.postgresql.exceptions` begin."""


@dataclass(frozen=True)
class BackupEntry:
    """One backup, as the index knows it.  Times are text as `coffre.ids.stamp` writes it.

    Attributes
    ----------
    done, total:
        How far a backup in progress is, in bytes on the source's disk; ``rows`` counts along.
    heartbeat:
        When a backup in progress was last seen to get on.
    verified, verdict, reasons, evidence:
        Of the newest verification of the backup with this root hash.
    copy, copy_by, copy_checked, copy_summary, copy_evidence, copy_bucket:
        Of the last check of the backup's copy in the second vault: the verdict, how deep it looked, when, and
        in which bucket.
    deleted:
        When rotation deleted it.
    unlike:
        How it differs from the backup before it, so much that somebody should look.
    seal:
        Of a sealed backup: its key (`coffre.vault.manifest.SealKey`) as JSON.
    """

    database: str
    backup_id: str
    type: BackupType
    status: Status
    reason: str = ""
    started: str | None = None
    completed: str | None = None
    deleted: str | None = None
    done: int = 0
    total: int = 0
    rows: int = 0
    heartbeat: str | None = None
    bytes: int = 0
    stored_bytes: int = 0
    new_bytes: int = 0
    chunks: int = 0
    new_chunks: int = 0
    relations: int = 0
    root_hash: str | None = None
    unlike: str = ""
    verdict: Verdict | None = None
    verified: str | None = None
    evidence: str | None = None
    reasons: tuple[Finding, ...] = ()
    copy: CopyVerdict | None = None
    copy_by: CopyCompared | None = None
    copy_checked: str | None = None
    copy_summary: str | None = None
    copy_evidence: str | None = None
    copy_bucket: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    seal: str | None = None

    @property
    def sampled(self) -> str:
        """How much of it was proven where not all could be restored; empty: it wasn't proven by sample."""
        first = self.reasons[0] if self.verdict == "inconclusive" and self.reasons else None
        return first.message if first is not None and first.code == SAMPLED else ""

    def copied_to(self, bucket: str) -> CopyVerdict | None:
        """What is known of a copy in this bucket; what was found in another one says nothing of it."""
        return self.copy if self.copy_bucket == bucket else None

    @property
    def failure(self) -> str:
        """The first reason why its verdict is ``failed``; empty: it isn't."""
        if self.verdict != "failed":
            return ""
        return next((reason.message for reason in self._grave()), "no reason was recorded")

    @property
    def bad(self) -> bool:
        """Whether it failed for more than exceptions: without those it can be restored, with all its rows."""
        grave = self._grave()
        excepted = bool(grave) and all(reason.code.startswith(_EXCEPTIONS) for reason in grave)
        return self.verdict == "failed" and not excepted

    def _grave(self) -> list[Finding]:
        return [reason for reason in self.reasons if reason.level == "refuse"]


@dataclass(frozen=True)
class RunRecord:
    """One run: rotation doesn't purge what a run that goes on may have used.

    Attributes
    ----------
    backup_id:
        The backup that it reads, if it reads one.
    done, total, rows:
        How far a verification or a restore is, in bytes of rows.
    """

    database: str
    run_id: str
    kind: RunKind
    started: str
    deadline: str
    backup_id: str | None = None
    ended: str | None = None
    expires_at: int = 0
    done: int = 0
    total: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Lease:
    """Who works on a database, and until when at the latest."""

    database: str
    holder: str
    deadline: str


@dataclass(frozen=True)
class Recheck:
    """How far the present round of reading a vault's chunks again is.

    Attributes
    ----------
    next:
        The first byte of the ids that are read next; 256 when the round is done.
    """

    database: str
    next: int
    started: str


@dataclass(frozen=True)
class Rate:
    """How fast a database's rows were read by its last backup that was long enough to tell.

    Attributes
    ----------
    bytes_per_second:
        Bytes on the source's disk, by one worker.
    stored_permille:
        Bytes in the vault for 1000 on the source's disk.
    measured:
        When.
    """

    database: str
    bytes_per_second: int
    stored_permille: int
    measured: str = ""


@dataclass(frozen=True)
class AuditEntry:
    """Something that was done, and why."""

    database: str
    time: str
    action: str
    subject: str
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RestoreEntry:
    """A restore, an undo or a proof that ended: the history, and what estimates are made from.

    Attributes
    ----------
    time:
        When it ended.
    target:
        The database that it was for, as messages name it; empty for a proof.
    kept_as:
        The name under which the database that was replaced stays.
    safety_backup:
        Id of the backup that was taken of it before.
    milliseconds:
        How long it took, a safety backup not included.
    exceptions:
        How many objects were left out, as the restore was told it may.
    where:
        Whether it ran in one function or on the state machine.
    token:
        Of the plan, where a restore on the state machine could go on.
    """

    database: str
    time: str
    kind: RestoreKind
    status: Literal["completed", "failed"]
    backup_id: str = ""
    target: str = ""
    target_database: str = ""
    kept_as: str | None = None
    safety_backup: str | None = None
    tables: int = 0
    rows: int = 0
    bytes: int = 0
    milliseconds: int = 0
    exceptions: int = 0
    where: Literal["function", "machine"] = "function"
    token: str | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True)
class RehearsalEntry:
    """An upgrade that was rehearsed: no proof, and nothing that estimates are made from.

    Attributes
    ----------
    time:
        When it ended.
    from_version, major:
        The source's version, and the major version that the backup was restored on.
    evidence:
        The key in the vault under which all is kept.
    """

    database: str
    time: str
    backup_id: str
    root_hash: str
    from_version: str
    major: int
    verdict: UpgradeVerdict
    evidence: str
    reasons: tuple[Finding, ...] = ()


T = TypeVar("T", BackupEntry, RunRecord, Lease, Recheck, Rate, AuditEntry, RestoreEntry, RehearsalEntry)


def from_item(cls: type[T], database: str, item: dict[str, Any]) -> T:
    """An item as a typed record with its database's name; see `known_values`."""
    return cls(**{**known_values(cls, item), "database": database})


def known_values(cls: type, item: dict[str, Any]) -> dict[str, Any]:
    """An item's attributes as values of a typed record; those that the record doesn't have are left out."""
    known = {entry.name for entry in fields(cls)}
    values = {name: _plain(value) for name, value in item.items() if name in known}
    if "reasons" in values:
        values["reasons"] = tuple(Finding.model_validate(reason) for reason in values["reasons"])
    return values


def _plain(value: Any) -> Any:
    """DynamoDB's numbers are decimals; all of ours are whole."""
    return int(value) if isinstance(value, Decimal) else value
