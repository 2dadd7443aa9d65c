"""The end of a backup: its manifest, and who is told."""

from __future__ import annotations

from coffre.backup.commit import commit
from coffre.backup.estimate import measure
from coffre.backup.job import Job, Services
from coffre.backup.likeness import unlike_last
from coffre.errors import DeadlineExceededError, ObjectExistsError
from coffre.ids import utc_now
from coffre.results import BackupResult, Finding
from coffre.vault.manifest import Manifest


def finish(job: Job, services: Services, manifest: Manifest, findings: list[Finding]) -> BackupResult:
    """Write the manifest, and tell of the backup: from here on it exists.

    Done again by the same attempt it only tells.

    Raises
    ------
    DeadlineExceededError
        Nothing is committed after the run's deadline.
    """
    if job.seconds_left < 0:
        raise DeadlineExceededError(
            f"the backup {job.id} of {job.database} came to its end after its deadline"
        )
    unlike = unlike_last(services.store, services.keys, manifest)
    try:
        digest = commit(services.store, manifest, job.layout.manifest(job.id))
    except ObjectExistsError:
        found, digest, _ = services.keys.load(services.store, job.database, job.id, services.store.seal)
        if found.attempt != job.attempt:
            return BackupResult(database=job.database, backup_id=job.id, status="skipped")
        manifest = found  # ours: the one who wrote it was ended before it could tell
    totals = manifest.totals
    result = BackupResult(
        database=job.database,
        backup_id=job.id,
        status="completed",
        rows=totals.rows,
        bytes=totals.bytes,
        stored_bytes=totals.stored_bytes,
        new_bytes=totals.new_bytes,
        chunks=totals.chunks,
        new_chunks=totals.new_chunks,
        relations=totals.relations,
        seconds=round((utc_now() - job.started).total_seconds(), 3),
        root_hash=digest,
        findings=[*unlike, *(finding for finding in findings if finding.level != "refuse")],
    )
    services.catalogue.complete(manifest, digest, unlike="; ".join(found.message for found in unlike))
    services.publisher.publish("Backup Completed", {**result.answer(), "snapshot": manifest.snapshot.taken})
    return result


def remember_rate(services: Services, manifest: Manifest, *, size: int, worker_seconds: float) -> None:
    """Record what the next estimate is made from, if it took long enough to tell.

    Parameters
    ----------
    size:
        Bytes on the source's disk that were read.
    worker_seconds:
        How long its workers read, all together.
    """
    rate = measure(
        manifest.database,
        size=size,
        stored=manifest.totals.stored_bytes,
        worker_seconds=worker_seconds,
        measured=manifest.completed,
    )
    if rate is not None:
        services.catalogue.record_rate(rate)


def let_go(services: Services, database: str, attempt: str) -> None:
    """End the run's record and give its lease back, however it ended."""
    try:
        services.catalogue.end_run(database, attempt)
    finally:
        services.catalogue.release(database, attempt)
