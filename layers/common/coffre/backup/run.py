"""One backup, from the request to the manifest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from coffre.backup.artefacts import write_catalog_part, write_files
from coffre.backup.commit import build_manifest, check_complete, commit, tally_parts
from coffre.backup.estimate import FUNCTION_WORKERS, measure
from coffre.backup.job import Job, Services
from coffre.backup.likeness import unlike_last
from coffre.backup.plan import WorkItem, plan
from coffre.catalogue.meter import Meter
from coffre.databases.postgresql import preflight
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.description import Description
from coffre.databases.postgresql.description import describe as describe_source
from coffre.databases.postgresql.snapshot import HeldSnapshot
from coffre.databases.postgresql.target import Target
from coffre.databases.registration import TIERS, Registration
from coffre.errors import (
    DeadlineExceededError,
    FormatUnsupportedError,
    ManifestInvalidError,
    ObjectCorruptError,
    ObjectExistsError,
    ObjectMissingError,
    UnknownBackupError,
    describe,
)
from coffre.events import BackupRequest
from coffre.ids import backup_id, new_attempt, utc_now
from coffre.observability import log
from coffre.results import BackupResult, Finding
from coffre.vault.contents import scratch_folder
from coffre.vault.known import write_known
from coffre.vault.layout import Layout
from coffre.vault.locks import Lock
from coffre.vault.manifest import ArchiveFile, Manifest, PartFile
from coffre.vault.parts import Chunk, End, encode_record
from coffre.vault.reader import load_manifest, read_part
from coffre.vault.safeguards import check_safeguards, lock_finding
from coffre.workers import Message

WORKERS = FUNCTION_WORKERS
PREFLIGHT_SECONDS = 60.0
KNOWN = "known"


@dataclass(frozen=True)
class Captured:
    """What a capture wrote into the vault; ``seconds``: how long its rows took."""

    source: Description
    items: list[WorkItem]
    ends: list[End]
    files: list[ArchiveFile]
    parts: list[PartFile]
    new_chunks: int
    new_bytes: int
    seconds: float


def run(
    request: BackupRequest, registration: Registration, target: Target, services: Services, *, seconds: float
) -> BackupResult:
    """Take a backup of one database, or say that it is there already.

    Parameters
    ----------
    request:
        With the database's name.
    seconds:
        How long this run may take, at most.

    Raises
    ------
    CoffreError
        The backup then doesn't exist, its lease is free, and nothing is left open on the source.
    """
    database = str(request.database)
    job = Job(
        request,
        database,
        registration,
        target,
        backup_id(database, request.type, request.scheduled_time),
        new_attempt(),
        utc_now(),
        time.monotonic() + min(seconds, services.max_run_seconds),
    )
    if services.store.head(job.layout.manifest(job.id)) is not None:
        return BackupResult(database=database, backup_id=job.id, status="skipped")
    with _recorded(job, services):
        return _take(job, replace(services, store=services.store.with_lock(_lock(job, services))))


def _lock(job: Job, services: Services) -> Lock | None:
    """What Object Lock is to keep this backup by: as long as the tier does that it is taken for."""
    rule = services.store.lock_rule()
    if rule is None:
        return None
    tier = next((tier for tier in TIERS if tier == job.request.type), None)
    return rule.of(job.started, job.registration.retention.span(tier) if tier else timedelta(0))


def check(
    target: Target, services: Services, *, database: str, seconds: float = PREFLIGHT_SECONDS
) -> list[Finding]:
    """Everything that speaks for or against a backup, without taking one, within ``seconds``."""
    return [*_inspect(target, services, database, seconds), lock_finding(services.store)]


def _inspect(target: Target, services: Services, database: str, seconds: float) -> list[Finding]:
    findings = check_safeguards(services.store, Layout(database))
    with open_session(target, seconds=min(seconds, PREFLIGHT_SECONDS)) as session:
        return findings + preflight.inspect(session)


@contextmanager
def _recorded(job: Job, services: Services) -> Iterator[None]:
    """Hold the lease and keep the run's record; tell of a failure."""
    catalogue = services.catalogue
    deadline = job.started + timedelta(seconds=job.ends - time.monotonic())
    catalogue.acquire(job.database, job.attempt, deadline)
    try:
        catalogue.start_run(job.database, "backup", job.attempt, deadline)
        catalogue.begin(job.database, job.id, job.request.type, job.started, job.request.reason)
        yield
    except BaseException as error:
        fault = describe(error)
        catalogue.fail(job.database, job.id, fault["code"], fault["message"])
        told = {"database": job.database, "backup_id": job.id, **fault}
        services.publisher.publish_failure("Backup Failed", told, error)
        raise
    finally:
        try:
            catalogue.end_run(job.database, job.attempt)
        finally:
            catalogue.release(job.database, job.attempt)


def _take(job: Job, services: Services) -> BackupResult:
    with scratch_folder(services.scratch, "backup") as folder:
        captured, findings = _capture(job, services, folder)
        tally = tally_parts(services.store, captured.parts)
        check_complete(tally, captured.items, captured.ends)
        manifest = build_manifest(
            job,
            services.store,
            captured.source,
            tally,
            files=captured.files,
            parts=captured.parts,
            new_chunks=captured.new_chunks,
            new_bytes=captured.new_bytes,
        )
    result = _commit(job, services, manifest, findings)
    if result.status == "completed":
        _remember_rate(job, services, captured, manifest)
    return result


def _remember_rate(job: Job, services: Services, captured: Captured, manifest: Manifest) -> None:
    """What the next estimate is made from."""
    rate = measure(
        job.database,
        size=sum(item.size for item in captured.items),
        stored=manifest.totals.stored_bytes,
        worker_seconds=captured.seconds * WORKERS,
        measured=manifest.completed,
    )
    if rate is not None:
        services.catalogue.record_rate(rate)


def _capture(job: Job, services: Services, folder: Path) -> tuple[Captured, list[Finding]]:
    """Hold one snapshot and read everything under it; it is let go before the commit.

    The workers start first: they are ready when the preflight is done and the tables are locked.
    """
    seconds = max(1.0, job.seconds_left)
    watch = _Watch(job)
    setup = [_setup(job, services, number, folder) for number in range(1, WORKERS + 1)]
    with services.start_workers(setup, watch.look) as pool:
        findings = _inspect(job.target, services, job.database, seconds)
        preflight.raise_refusal(findings, job.target.label)
        _write_known_chunks(job, services, folder / KNOWN)
        with HeldSnapshot(job.target, seconds=seconds, application=_application(job)) as snapshot:
            source = describe_source(snapshot.session)
            snapshot.watch(waiters=job.registration.waiters)
            watch.snapshot = snapshot
            items = plan(source.inventory.relations)
            meter = Meter(
                partial(services.catalogue.progress, job.database, job.id), sum(i.size for i in items)
            )
            began = time.monotonic()
            done = pool.map(_message(item, snapshot.id) for item in items)
            files = write_files(job, services, source, snapshot.id, folder)
            ends = []
            for item, answer in done:
                ends.append(End(**answer["end"]))
                meter.add(rows=ends[-1].rows, done=int(item["size"]))
            answers = pool.finish()
            took = time.monotonic() - began
            snapshot.confirm()
    parts = [write_catalog_part(job, services, source, folder)]
    parts += [PartFile.model_validate(answer["part"]) for answer in answers if answer["part"]]
    new_chunks, new_bytes = (sum(answer[name] for answer in answers) for name in ("new_chunks", "new_bytes"))
    return Captured(source, items, ends, files, parts, new_chunks, new_bytes, took), findings


def _commit(job: Job, services: Services, manifest: Manifest, findings: list[Finding]) -> BackupResult:
    if job.seconds_left < 0:
        raise DeadlineExceededError(
            f"the backup {job.id} of {job.database} came to its end after its deadline"
        )
    unlike = unlike_last(services.store, manifest)
    try:
        digest = commit(services.store, manifest, job.layout.manifest(job.id))
    except ObjectExistsError:
        return BackupResult(database=job.database, backup_id=job.id, status="skipped")
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


def _write_known_chunks(job: Job, services: Services, path: Path) -> None:
    """Write what the newest backup recorded of its chunks into a file for the workers.

    Nothing is written if there is no backup, or the newest one is damaged: chunks are then read before they
    are reused.
    """
    try:
        manifest, _ = load_manifest(services.store, job.database, "latest")
        records = (record for part in manifest.parts for record in read_part(services.store, part))
        write_known((record for record in records if isinstance(record, Chunk)), path)
    except UnknownBackupError:
        return
    except (FormatUnsupportedError, ManifestInvalidError, ObjectCorruptError, ObjectMissingError) as error:
        log("the newest backup can't be read", database=job.database, code=error.code, reason=error.message)


def _setup(job: Job, services: Services, number: int, folder: Path) -> Message:
    return {
        "task": "capture",
        "target": asdict(job.target),
        "seconds": max(1.0, job.seconds_left),
        "application": _application(job),
        "database": job.database,
        "part_key": f"{job.prefix}parts/{number}-{{sha256}}.ndjson.zst",
        "known": str(folder / KNOWN),
        "scratch": str(folder),
        "bucket": services.store.bucket,
        "backup_id": job.id,
        "lock": services.store.lock.hand_over() if services.store.lock else None,
    }


def _message(item: WorkItem, snapshot: str) -> Message:
    relation = encode_record(item.relation).decode()
    return {"relation": relation, "size": item.size, "pages": item.pages, "snapshot": snapshot}


def _application(job: Job) -> str:
    """How the sessions of this attempt show in the server's list."""
    return f"coffre/{job.attempt}"


class _Watch:
    """What is looked after every second while rows are read: the time, and the snapshot once it is held."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.snapshot: HeldSnapshot | None = None

    def look(self) -> None:
        """Raise what ends the backup."""
        if self.snapshot is not None:
            self.snapshot.check()
        if self._job.seconds_left < 0:
            raise DeadlineExceededError(f"the backup {self._job.id} of {self._job.database} ran out of time")
