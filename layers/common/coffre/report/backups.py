"""What became of a month's backups, read in one pass: what is kept grows with the month, not the history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from coffre.catalogue.entries import BackupEntry
from coffre.errors import ObjectCorruptError, ObjectMissingError
from coffre.ids import backup_time, stamp
from coffre.report.month import Month
from coffre.results import LISTED, Finding, listed
from coffre.vault.evidence import DOUBT

_DAMAGE = {ObjectCorruptError.code, ObjectMissingError.code, DOUBT.code, "chunk-damaged"}
_EXCEPTION = "exception-"
"""How the codes of `coffre.databases.postgresql.exceptions` begin."""


@dataclass
class Backups:
    """One database's backups in a month.

    Attributes
    ----------
    completed, failed:
        Those that were scheduled in the month, oldest first; a completed one may be rotated away since.
    newest, newest_proof:
        Ids of the newest ones that were there when the period ended.
    damage:
        A finding for each backup that something of was found damaged or gone.
    exceptions:
        What proofs couldn't restore, each object once, with the number of backups that it was found in.
    """

    completed: list[BackupEntry] = field(default_factory=list)
    failed: list[BackupEntry] = field(default_factory=list)
    newest: str | None = None
    newest_proof: str | None = None
    damage: list[Finding] = field(default_factory=list)
    exceptions: list[Finding] = field(default_factory=list)


def _died(entry: BackupEntry, until: datetime) -> bool:
    """Whether a run's function or machine ended without a word: nothing was heard of it for a day."""
    heard = entry.heartbeat or entry.started or ""
    return entry.status == "in_progress" and heard < stamp(until - timedelta(days=1))


def read_backups(entries: Iterable[BackupEntry], month: Month, until: datetime) -> Backups:
    """Sort out what belongs to a month.

    Parameters
    ----------
    entries:
        All of a database's, newest first.
    until:
        When the period ends: with the month, or now.
    """
    found, end = Backups(), stamp(until)
    exceptions: dict[tuple[str, str], Finding] = {}
    damage: list[Finding] = []
    for entry in entries:
        if month.begins <= backup_time(entry.backup_id) < until:
            if entry.status in ("completed", "deleted") and entry.completed:
                found.completed.append(entry)
            elif entry.status == "failed" or _died(entry, until):
                found.failed.append(entry)
            _count_exceptions(entry, exceptions)
        if len(damage) <= LISTED:
            damage += _damage(entry, stamp(month.begins), end)
        if _there(entry, entry.completed, end):
            found.newest = found.newest or entry.backup_id
            if entry.verdict == "proven" and _there(entry, entry.verified, end):
                found.newest_proof = found.newest_proof or entry.backup_id
    found.completed.reverse()
    found.failed.reverse()
    found.damage = listed(damage)
    found.exceptions = listed(list(exceptions.values()))
    return found


def _there(entry: BackupEntry, ready: str | None, end: str) -> bool:
    """Whether it was ready when the period ended, and not deleted yet."""
    kept = entry.status == "completed" or (entry.status == "deleted" and (entry.deleted or "") > end)
    return kept and bool(ready) and str(ready) <= end


def _count_exceptions(entry: BackupEntry, exceptions: dict[tuple[str, str], Finding]) -> None:
    for reason in entry.reasons:
        if reason.code.startswith(_EXCEPTION):
            key = (reason.code, reason.object)
            first = exceptions.get(key)
            times = (first.count or 0) + 1 if first else 1
            exceptions[key] = (first or reason).model_copy(update={"count": times})


def _damage(entry: BackupEntry, begins: str, end: str) -> list[Finding]:
    """One finding if the backup lost its verdict to damage in the period, or failed because of it."""
    reasons = [reason for reason in entry.reasons if reason.code in _DAMAGE]
    if reasons and begins <= (entry.verified or "") < end:
        return [reasons[0].model_copy(update={"object": entry.backup_id, "count": len(reasons)})]
    failed = entry.status == "failed" and entry.error_code in _DAMAGE
    if failed and begins <= (entry.started or "") < end:
        code, message = entry.error_code or "", entry.error_message or ""
        return [Finding(level="refuse", code=code, object=entry.backup_id, message=message)]
    return []
