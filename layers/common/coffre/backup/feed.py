"""What the workers of a backup are told: their setup, their items, and which chunks are known already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

from coffre.backup.job import Job, Services
from coffre.backup.plan import WorkItem
from coffre.databases.registration import TIERS
from coffre.errors import (
    FormatUnsupportedError,
    ManifestInvalidError,
    ObjectCorruptError,
    ObjectMissingError,
    UnknownBackupError,
)
from coffre.observability import log
from coffre.vault.known import write_known
from coffre.vault.locks import Lock
from coffre.vault.manifest import PartFile
from coffre.vault.parts import Chunk, encode_record
from coffre.vault.reader import load_manifest, read_part
from coffre.vault.store import ObjectStore
from coffre.workers import Message


def locking(job: Job, services: Services) -> Services:
    """The same, whose store keeps what it writes as long as the backup's tier does, if it has Object Lock."""
    return replace(services, store=services.store.with_lock(_object_lock(job, services.store)))


def _object_lock(job: Job, store: ObjectStore) -> Lock | None:
    """What Object Lock is to keep this backup by: as long as the tier does that it is taken for."""
    rule = store.lock_rule()
    if rule is None:
        return None
    tier = next((tier for tier in TIERS if tier == job.request.type), None)
    return rule.of(job.started, job.registration.retention.span(tier) if tier else timedelta(0))


def write_known_chunks(
    store: ObjectStore, database: str, path: Path, earlier: Iterable[PartFile] = ()
) -> None:
    """Write what is recorded of the vault's chunks into a file for the workers.

    That is what the newest backup says, and what earlier attempts at this one stored.  Nothing is written if
    there is neither, or one is damaged: chunks are then read before they are reused.
    """
    try:
        parts = [*_newest_parts(store, database), *earlier]
        records = (record for part in parts for record in read_part(store, part))
        if parts:
            write_known((record for record in records if isinstance(record, Chunk)), path)
    except (FormatUnsupportedError, ManifestInvalidError, ObjectCorruptError, ObjectMissingError) as error:
        log("the known chunks can't be read", database=database, code=error.code, reason=error.message)


def _newest_parts(store: ObjectStore, database: str) -> list[PartFile]:
    try:
        manifest, _ = load_manifest(store, database, "latest")
    except UnknownBackupError:
        return []
    # Under another seal the same rows have other names.
    return manifest.parts if manifest.seal == store.seal.key else []


def worker_setup(job: Job, services: Services, part: str, folder: Path, known: Path) -> Message:
    """A worker's first message.

    Parameters
    ----------
    part:
        The name of the part that it writes, before its hash.
    folder:
        Scratch space of this run.
    known:
        Where `write_known_chunks` wrote.
    """
    return {
        "task": "capture",
        "target": asdict(job.target),
        "seconds": max(1.0, job.seconds_left),
        "lock_seconds": job.lock_seconds,
        "application": job.application,
        "database": job.database,
        "part_key": f"{job.prefix}parts/{part}-{{sha256}}.ndjson.zst",
        "known": str(known),
        "scratch": str(folder),
        "bucket": services.store.bucket,
        "backup_id": job.id,
        "lock": services.store.lock.hand_over() if services.store.lock else None,
        "seal": services.store.seal.hand_over(),
    }


def item_message(items: Sequence[WorkItem], snapshot: str) -> Message:
    """An item, or those that share a chunk, to be read under a snapshot."""
    asked = {"size": sum(item.size for item in items), "snapshot": snapshot}
    if len(items) == 1:
        return {**_item(items[0]), **asked}
    return {"shared": [_item(item) for item in items], **asked}


def _item(item: WorkItem) -> Message:
    return {"relation": encode_record(item.relation).decode(), "size": item.size, "pages": item.pages}
