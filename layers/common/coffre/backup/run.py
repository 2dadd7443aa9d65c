"""One backup, from the request to the manifest."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from coffre.backup.commit import check_complete, commit, tally_parts
from coffre.backup.plan import WorkItem, plan
from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql import preflight
from coffre.databases.postgresql.connection import PINNED, Target, open_session
from coffre.databases.postgresql.dump import dump_large_objects, dump_schema
from coffre.databases.postgresql.inventory import (
    Inventory,
    describe_engine,
    describe_locale,
    describe_snapshot,
    list_extensions,
    take_inventory,
)
from coffre.databases.postgresql.objects import count_objects, list_needs
from coffre.databases.postgresql.roles import globals_sql, read_database, read_roles
from coffre.databases.postgresql.snapshot import HeldSnapshot
from coffre.databases.postgresql.tools import Tools, dump_major
from coffre.databases.registration import Registration
from coffre.errors import (
    DeadlineExceededError,
    LeaseHeldError,
    ObjectExistsError,
    UnknownBackupError,
    describe,
)
from coffre.events import BackupRequest
from coffre.ids import backup_id, new_attempt, stamp, utc_now
from coffre.notify.publisher import Publisher
from coffre.results import BackupResult, Finding
from coffre.vault.files import put_file
from coffre.vault.known import write_known
from coffre.vault.layout import FORMAT, Layout
from coffre.vault.manifest import ArchiveFile, Engine, Manifest, PartFile, Snapshot, StoredFile, Totals
from coffre.vault.parts import Chunk, DatabaseRecord, End, PartWriter, Record, Role, encode_record
from coffre.vault.reader import load_manifest, read_part
from coffre.vault.refs import write_refs
from coffre.vault.safeguards import check_safeguards
from coffre.vault.store import ObjectStore
from coffre.workers import Message, WorkerPool

WORKERS = 2
COMMIT_SECONDS = 20.0
"""Seconds before the function's end after which nothing is committed any more."""
PROGRESS_SECONDS = 2.0


@dataclass(frozen=True)
class Services:
    """What a backup works with.

    Attributes
    ----------
    start_workers:
        Starts worker processes: (one setup message for each, what to call every second) -> a pool.
    publish_to:
        Names of the stack's store and the like for the workers' setup.
    """

    store: ObjectStore
    catalogue: Catalogue
    publisher: Publisher
    tools: Tools
    scratch: Path
    max_run_seconds: int
    start_workers: Callable[[Sequence[Message], Callable[[], None]], WorkerPool]


@dataclass(frozen=True)
class Job:
    """One attempt at one backup.  ``ends`` is on `time.monotonic`'s clock."""

    request: BackupRequest
    database: str
    registration: Registration
    target: Target
    id: str
    attempt: str
    started: datetime
    ends: float

    @property
    def layout(self) -> Layout:
        """The keys of the database's vault."""
        return Layout(self.database)

    @property
    def seconds_left(self) -> float:
        """Until nothing may be committed any more."""
        return self.ends - COMMIT_SECONDS - time.monotonic()


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
        return _take(job, services)


def check(registration: Registration, target: Target, services: Services, *, database: str) -> list[Finding]:
    """Everything that speaks for or against a backup, without taking one."""
    findings = check_safeguards(services.store, Layout(database))
    with open_session(target, seconds=60) as session:
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
    except LeaseHeldError:
        raise
    except BaseException as error:
        fault = describe(error)
        catalogue.fail(job.database, job.id, fault["code"], fault["message"])
        services.publisher.publish("Backup Failed", {"database": job.database, "backup_id": job.id, **fault})
        raise
    finally:
        catalogue.end_run(job.database, job.attempt)
        catalogue.release(job.database, job.attempt)


def _take(job: Job, services: Services) -> BackupResult:
    findings = check_safeguards(services.store, job.layout)
    with open_session(job.target, seconds=60) as session:
        findings += preflight.inspect(session)
    preflight.raise_refusal(findings, job.target.label)
    folder = Path(tempfile.mkdtemp(prefix="backup-", dir=services.scratch))
    application = f"coffre/{job.attempt}"
    try:
        with HeldSnapshot(
            job.target, seconds=max(1.0, job.seconds_left), application=application
        ) as snapshot:
            return _capture(job, services, snapshot, folder, findings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _capture(
    job: Job, services: Services, snapshot: HeldSnapshot, folder: Path, findings: list[Finding]
) -> BackupResult:
    session = snapshot.session
    major = dump_major(session.major)
    inventory = take_inventory(session)
    engine, taken = describe_engine(session, f"pg_dump {major}"), describe_snapshot(session)
    locale, extensions = describe_locale(session), list_extensions(session)
    objects, needs = count_objects(session), list_needs(session, locale.provider)
    roles, record = read_roles(session), read_database(session)
    settings = {**PINNED, "client_encoding": session.encoding}
    snapshot.watch(waiters=job.registration.waiters)

    items = plan(inventory.relations)
    known = _known_chunks(job, services, folder)
    setup = [_setup(job, services, snapshot.id, number, known, folder) for number in range(1, WORKERS + 1)]
    progress = _Progress(job, services, snapshot, sum(item.size for item in items))
    with services.start_workers(setup, progress.tick) as pool:
        files = _files(job, services, snapshot.id, major, folder, inventory)
        files.append(_globals(job, services, roles, record, engine, folder))
        ends = []
        for item, answer in pool.map(_message(item) for item in items):
            ends.append(End(**answer["end"]))
            progress.add(ends[-1], int(item["size"]))
        answers = pool.finish()
    snapshot.check()
    parts = [PartFile.model_validate(answer["part"]) for answer in answers]
    parts.append(_catalog_part(job, services, [*roles, record, *inventory.sequences], folder))
    tally = tally_parts(services.store, parts)
    check_complete(tally, items, ends)
    prefix = job.layout.attempt(job.id, job.attempt)
    manifest = Manifest(
        format=FORMAT,
        requires=_requirements(inventory),
        id=job.id,
        attempt=job.attempt,
        database=job.database,
        type=job.request.type,
        reason=job.request.reason,
        engine=engine,
        snapshot=taken,
        started=stamp(job.started),
        completed=stamp(utc_now()),
        locale=locale,
        settings=settings,
        extensions=extensions,
        files=files,
        parts=parts,
        refs=write_refs(services.store, prefix, sorted(tally.chunk_ids)),
        totals=Totals(
            relations=len(tally.relations),
            sequences=tally.sequences,
            rows=tally.rows,
            bytes=tally.plain,
            chunks=len(tally.chunk_ids),
            stored_bytes=tally.stored,
            new_chunks=sum(answer["new_chunks"] for answer in answers),
            new_bytes=sum(answer["new_bytes"] for answer in answers),
            large_objects=inventory.large_objects,
        ),
        objects=objects,
        needs=needs,
        left_out=list(inventory.left_out),
    )
    return _commit(job, services, manifest, taken, findings)


def _commit(
    job: Job, services: Services, manifest: Manifest, taken: Snapshot, findings: list[Finding]
) -> BackupResult:
    if job.seconds_left < 0:
        raise DeadlineExceededError(
            f"the backup {job.id} of {job.database} came to its end after its deadline"
        )
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
        findings=[finding for finding in findings if finding.level != "refuse"],
    )
    services.catalogue.complete(manifest, digest)
    services.publisher.publish("Backup Completed", {**result.answer(), "snapshot": taken.taken})
    return result


def _known_chunks(job: Job, services: Services, folder: Path) -> Path | None:
    """What the newest backup recorded of its chunks, in a file for the workers; None without a backup."""
    try:
        manifest, _ = load_manifest(services.store, job.database, "latest")
    except UnknownBackupError:
        return None
    records = (record for part in manifest.parts for record in read_part(services.store, part))
    path = folder / "known"
    write_known((record for record in records if isinstance(record, Chunk)), path)
    return path


def _setup(
    job: Job, services: Services, snapshot: str, number: int, known: Path | None, folder: Path
) -> dict[str, Any]:
    return {
        "task": "capture",
        "target": asdict(job.target),
        "snapshot": snapshot,
        "seconds": max(1.0, job.seconds_left),
        "application": f"coffre/{job.attempt}",
        "database": job.database,
        "part_key": f"{job.layout.attempt(job.id, job.attempt)}parts/{number}-{{sha256}}.ndjson.zst",
        "known": str(known) if known else None,
        "scratch": str(folder),
        "bucket": services.store.bucket,
    }


def _message(item: WorkItem) -> Message:
    return {"relation": encode_record(item.relation).decode(), "size": item.size, "pages": item.pages}


def _files(
    job: Job, services: Services, snapshot: str, major: int, folder: Path, inventory: Inventory
) -> list[ArchiveFile]:
    """The schema, and the large objects if there are any."""
    prefix = job.layout.attempt(job.id, job.attempt)
    schema = folder / "schema.pgdump"
    dump_schema(services.tools, major, job.target, snapshot, schema, deadline=job.ends)
    files = [_archive("schema", put_file(services.store, schema, f"{prefix}schema-{{sha256}}.pgdump"))]
    if inventory.large_objects:
        objects = folder / "lobs.pgdump"
        dump_large_objects(services.tools, major, job.target, snapshot, objects, deadline=job.ends)
        files.append(
            _archive("large_objects", put_file(services.store, objects, f"{prefix}lobs-{{sha256}}.pgdump"))
        )
    return files


def _globals(
    job: Job, services: Services, roles: list[Role], record: DatabaseRecord, engine: Engine, folder: Path
) -> ArchiveFile:
    path = folder / "globals.sql"
    path.write_text(globals_sql(roles, record, engine.database), "utf-8", "surrogateescape")
    key = f"{job.layout.attempt(job.id, job.attempt)}globals-{{sha256}}.sql"
    return _archive("globals", put_file(services.store, path, key))


def _archive(role: str, stored: StoredFile) -> ArchiveFile:
    return ArchiveFile.model_validate({**stored.model_dump(), "role": role})


def _catalog_part(job: Job, services: Services, records: Sequence[Record], folder: Path) -> PartFile:
    """The part that holds what has no rows in chunks: roles, the database's own properties, sequences."""
    path = folder / "catalog.ndjson.zst"
    with path.open("wb") as file:
        part = PartWriter(file)
        for entry in records:
            part.write(entry)
        part.close()
    key = f"{job.layout.attempt(job.id, job.attempt)}parts/0-{{sha256}}.ndjson.zst"
    stored = put_file(services.store, path, key)
    return PartFile(**stored.model_dump(), bytes=part.bytes, relations=part.relations, chunks=part.chunks)


def _requirements(inventory: Inventory) -> list[str]:
    needed = ["postgresql", "copy-text", "zstd"]
    return [*needed, "large-objects"] if inventory.large_objects else needed


class _Progress:
    """Looks after the snapshot and the deadline, and tells the catalogue how far the backup is."""

    def __init__(self, job: Job, services: Services, snapshot: HeldSnapshot, total: int) -> None:
        self._job = job
        self._services = services
        self._snapshot = snapshot
        self._total = total
        self._rows = self._bytes = self._done = 0
        self._told = time.monotonic()

    def add(self, end: End, size: int) -> None:
        """One item is done."""
        self._rows += end.rows
        self._bytes += end.bytes
        self._done += size

    def tick(self) -> None:
        """Called every second."""
        self._snapshot.check()
        if self._job.seconds_left < 0:
            raise DeadlineExceededError(f"the backup {self._job.id} of {self._job.database} ran out of time")
        if time.monotonic() - self._told >= PROGRESS_SECONDS:
            self._told = time.monotonic()
            self._services.catalogue.progress(
                self._job.database, self._job.id, rows=self._rows, done=self._done, total=self._total
            )
