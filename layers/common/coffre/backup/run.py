"""One backup, from the request to the manifest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from coffre.backup.artefacts import write_catalog_part, write_globals, write_schema
from coffre.backup.commit import (
    New,
    check_complete,
    complete_manifest,
    draft_manifest,
    tally_parts,
)
from coffre.backup.examine import PREFLIGHT_SECONDS, inspect
from coffre.backup.feed import item_message, locking, worker_setup, write_known_chunks
from coffre.backup.finish import finish, let_go, remember_rate
from coffre.backup.job import Job, Services
from coffre.backup.machine import may_choose, start, where_to_run
from coffre.backup.plan import WorkItem, plan, together
from coffre.backup.sealed import seal_findings, sealing
from coffre.catalogue.meter import Meter
from coffre.databases.postgresql import preflight
from coffre.databases.postgresql.description import Description
from coffre.databases.postgresql.description import describe as describe_source
from coffre.databases.postgresql.snapshot import HeldSnapshot
from coffre.databases.postgresql.target import Source
from coffre.databases.postgresql.tools import dump_major
from coffre.databases.registration import Registration
from coffre.errors import (
    DeadlineExceededError,
    SafetyBackupImpossibleError,
    describe,
)
from coffre.events.backup import BackupRequest
from coffre.ids import backup_id, new_attempt, utc_now
from coffre.results import BackupResult, Finding
from coffre.vault.contents import scratch_folder
from coffre.vault.manifest import ArchiveFile, PartFile
from coffre.vault.parts import End
from coffre.vault.safeguards import lock_finding

SHORT_BYTES = 1 << 20
"""A table up to this size is read in the time in which a worker would wait for the next one's name."""

OUTGROWN_ADVICE = (
    "Let it run on the state machine (`runs` in its registration), or give the function more memory."
)


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
    request: BackupRequest, registration: Registration, source: Source, services: Services, *, seconds: float
) -> BackupResult:
    """Take a backup of one database, or say that it is there already, or only what speaks against one.

    One that is too large for this function, or turns out to be, is started on the state machine.

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
    if request.preflight_only:
        findings = check(source, registration, services, database=database)
        return BackupResult(database=database, backup_id="", status="checked", findings=findings)
    job = Job(
        request,
        database,
        registration,
        source,
        backup_id(database, request.type, request.scheduled_time),
        new_attempt(),
        utc_now(),
        time.monotonic() + min(seconds, services.max_run_seconds),
    )
    if services.store.head(job.layout.manifest(job.id)) is not None:
        return BackupResult(database=database, backup_id=job.id, status="skipped")
    choice, workers = where_to_run(job, services, seconds=job.seconds_left)
    if choice.where == "machine":
        return _leave_to_machine(job, services, choice.reason)
    with _recorded(job, services):
        try:
            result = _take(job, locking(job, sealing(job, services)), workers)
        except DeadlineExceededError as error:
            return _outgrown(job, services, error)
    return result.model_copy(update={"where": choice.reason})


def check(
    source: Source,
    registration: Registration,
    services: Services,
    *,
    database: str,
    seconds: float = PREFLIGHT_SECONDS,
) -> list[Finding]:
    """Everything that speaks for or against a backup, without taking one, within ``seconds``."""
    findings = inspect(source, services, database, seconds, limits=registration.limits)
    findings.append(lock_finding(services.store))
    return findings + seal_findings(services.keys, services.store, database, registration)


def _leave_to_machine(job: Job, services: Services, reason: str) -> BackupResult:
    if job.request.type == "safety":
        raise SafetyBackupImpossibleError(
            f"a restore can't wait for a backup of {job.database} on the state machine",
            f"Take one with `coffre backup {job.database} --wait`, then restore with `--no-safety`.",
        )
    start(job, services)
    return BackupResult(database=job.database, backup_id=job.id, status="started", where=reason)


def _outgrown(job: Job, services: Services, error: DeadlineExceededError) -> BackupResult:
    """Leave to the state machine what was expected to fit into one function, and came to the end of its time.

    A rate that was measured where rows were known already leaves out compression and uploads.  After a VACUUM
    FULL, or under a new seal, all rows are new.
    """
    if job.seconds_left > 0 or not may_choose(job, services):
        raise DeadlineExceededError(error.message, OUTGROWN_ADVICE) from error
    let_go(services, job.database, job.attempt)  # the machine's run takes the lease
    return _leave_to_machine(job, services, f"it didn't fit into one function: {error.message}")


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
        let_go(services, job.database, job.attempt)


def _take(job: Job, services: Services, workers: int) -> BackupResult:
    began = time.monotonic()
    with scratch_folder(services.scratch, "backup") as folder:
        captured, findings = _capture(job, services, workers, folder)
        read = time.monotonic()
        tally = tally_parts(services.store, captured.parts)
        check_complete(tally, captured.items, captured.ends)
        draft = draft_manifest(job, captured.source, captured.files, services.store.seal)
        new = New(captured.new_chunks, captured.new_bytes)
        manifest = complete_manifest(draft, job, services.store, tally, captured.parts, new=new)
    result = finish(job, services, manifest, findings)
    if result.status == "completed":
        size = sum(item.size for item in captured.items)
        remember_rate(services, manifest, size=size, worker_seconds=captured.seconds * workers)
    phases = {
        "prepare": read - began - captured.seconds,
        "rows": captured.seconds,
        "commit": time.monotonic() - read,
    }
    return result.model_copy(update={"phases": {name: round(took, 3) for name, took in phases.items()}})


def _capture(job: Job, services: Services, workers: int, folder: Path) -> tuple[Captured, list[Finding]]:
    """Hold one snapshot and read everything under it; it is let go before the commit.

    The workers start first: they are ready when the preflight is done and the tables are locked.  The schema
    is dumped from the moment that there is a snapshot, beside all else, in a thread: what workers answer must
    be taken meanwhile, or they stand still.
    """
    seconds = max(1.0, job.seconds_left)
    watch = _Watch(job)
    known = folder / "known"
    setup = [worker_setup(job, services, str(n), folder, known) for n in range(1, workers + 1)]
    with ThreadPoolExecutor(1, "dump") as aside, services.start_workers(setup, watch.look) as pool:
        findings = inspect(job.source, services, job.database, seconds, limits=job.registration.limits)
        preflight.raise_refusal(findings, job.target.label)
        write_known_chunks(services.store, job.database, known)
        with (
            HeldSnapshot(job.target, seconds=seconds, application=job.application) as snapshot,
            snapshot.blamed(),
        ):
            major = dump_major(snapshot.session.major)
            watch.schema = aside.submit(write_schema, job, services, major, snapshot.id, folder)
            source = describe_source(snapshot.session)
            snapshot.watch(waiters=job.registration.waiters)
            watch.snapshot = snapshot
            items = plan(source.inventory.relations)
            meter = Meter(
                partial(services.catalogue.progress, job.database, job.id), sum(i.size for i in items)
            )
            began = time.monotonic()
            asked = (item_message(group, snapshot.id) for group in together(items))
            done = pool.map(asked, is_short=lambda item: item["size"] <= SHORT_BYTES)
            ends: list[End] = []
            for item, answer in done:
                read = [End(**end) for end in answer["ends"]]
                meter.add(rows=sum(end.rows for end in read), done=int(item["size"]))
                ends += read
            answers = pool.finish()
            files = [watch.schema.result(), write_globals(job, services, source, folder)]
            took = time.monotonic() - began
            snapshot.confirm()
    parts = [write_catalog_part(job, services, source, folder)]
    parts += [PartFile.model_validate(answer["part"]) for answer in answers if answer["part"]]
    new_chunks, new_bytes = (sum(answer[name] for answer in answers) for name in ("new_chunks", "new_bytes"))
    return Captured(source, items, ends, files, parts, new_chunks, new_bytes, took), findings


class _Watch:
    """What is looked after every second while rows are read: the time, and once the snapshot is held, that
    and the schema that is dumped beside."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.snapshot: HeldSnapshot | None = None
        self.schema: Future[ArchiveFile] | None = None

    def look(self) -> None:
        """Raise what ends the backup."""
        if self.snapshot is not None:
            self.snapshot.check()
        if self.schema is not None and self.schema.done():
            self.schema.result()
        if self._job.seconds_left < 0:
            raise DeadlineExceededError(f"the backup {self._job.id} of {self._job.database} ran out of time")
