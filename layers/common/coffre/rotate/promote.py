"""Object Lock follows the policy: what a tier keeps for longer than its lock lasts gets a longer one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from coffre.databases.registration import TIERS, Retention
from coffre.rotate.policy import PERIODS, BackupFacts, tier_members
from coffre.vault.layout import Layout
from coffre.vault.locks import Lock, LockRule
from coffre.vault.reader import load_manifest
from coffre.vault.refs import read_ids
from coffre.vault.retention import extend_all
from coffre.vault.store import ObjectStore


@dataclass(frozen=True)
class Promotion:
    """A backup, and the lock that it needs."""

    backup_id: str
    lock: Lock


def promotions(
    facts: Sequence[BackupFacts], retention: Retention, rule: LockRule, now: datetime
) -> list[Promotion]:
    """The backups whose lock is shorter than the tiers that keep them.

    A tier counts only once its period is over: until then a newer backup may take the place, and a lock can't
    be taken back.

    Parameters
    ----------
    facts:
        The backups, in any order, with their locks.
    """
    ordered = sorted(facts, key=lambda backup: (backup.time, backup.backup_id), reverse=True)
    good = [backup for backup in ordered if backup.time <= now and backup.verdict != "failed"]
    needed = dict[str, Lock]()
    for tier in TIERS:
        for backup, _ in tier_members(good, retention, tier):
            if PERIODS[tier](backup.time) == PERIODS[tier](now):
                continue
            lock = rule.of(backup.time, retention.span(tier))
            known = needed.get(backup.backup_id)
            if known is None or known.until < lock.until:
                needed[backup.backup_id] = lock
    return [
        Promotion(backup.backup_id, needed[backup.backup_id])
        for backup in good
        if backup.backup_id in needed and needed[backup.backup_id].until > max(now, backup.locked or now)
    ]


def promote(
    store: ObjectStore,
    layout: Layout,
    promotion: Promotion,
    check: Callable[[], None],
) -> int:
    """Extend the lock of all that a backup needs: chunks, then files, then the manifest.

    The manifest's lock tells that the others are there, so what was cut short is just done again.

    Parameters
    ----------
    check:
        Called again and again; raises to stop.

    Returns
    -------
    int
        How many objects had a shorter lock.

    Raises
    ------
    ManifestInvalidError, FormatUnsupportedError, ObjectMissingError, ObjectCorruptError
    StoreUnavailableError
    """
    lock, backup_id = promotion.lock, promotion.backup_id
    first = extend_all(store, objects_of(store, layout, backup_id), lock, check)
    return first + extend_all(store, [layout.manifest(backup_id)], lock, check)


def objects_of(store: ObjectStore, layout: Layout, backup_id: str) -> Iterator[str]:
    """The keys of all that a backup needs but its manifest, chunks first.

    Raises
    ------
    ManifestInvalidError, FormatUnsupportedError, ObjectMissingError, ObjectCorruptError
    StoreUnavailableError
    """
    manifest, _ = load_manifest(store, layout.database, backup_id)
    for identifier in read_ids(store, manifest):
        yield layout.chunk(identifier.hex())
    for file in (*manifest.files, *manifest.parts, *manifest.refs):
        yield file.key
