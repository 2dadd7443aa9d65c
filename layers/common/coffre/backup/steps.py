"""The steps of a backup on the state machine, which ``statemachines/backup.asl.yaml`` puts in order.

prepare, then (beside the holders of the snapshot) plan, capture of every batch, release; then commit.
Whatever goes wrong, `coffre.backup.abort`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from coffre.backup.abort import abort
from coffre.backup.artefacts import write_catalog_part, write_globals, write_schema
from coffre.backup.commit import New, complete_manifest, draft_manifest, tally_parts
from coffre.backup.complete import Captured, check_batches
from coffre.backup.examine import inspect
from coffre.backup.feed import locking, write_known_chunks
from coffre.backup.finish import finish, let_go, remember_rate
from coffre.backup.job import VERSION, Job, Services
from coffre.backup.joining import join_parts
from coffre.backup.paperwork import batches_key, read_draft, write_batches, write_draft, write_known_file
from coffre.backup.plan import plan_batches
from coffre.backup.sealed import as_begun, sealing
from coffre.catalogue.index import Catalogue
from coffre.catalogue.ledger import Ledger, Progress
from coffre.databases.postgresql import preflight
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.description import describe as describe_source
from coffre.databases.postgresql.snapshot import import_snapshot
from coffre.errors import (
    BackupOverError,
    BackupStoppedError,
    DeadlineExceededError,
    SnapshotLostError,
)
from coffre.events.backup import MachineRun, StepRequest
from coffre.results import BackupResult, StepResult
from coffre.vault.contents import scratch_folder
from coffre.vault.manifest import PartFile

SNAPSHOT_SECONDS = 180.0
"""How long the plan waits for the snapshot."""

POLL_SECONDS = 0.5


def do(request: StepRequest, job: Job, services: Services) -> StepResult | BackupResult:
    """Do the step that the state machine asks for."""
    run = request.run
    if request.step == "prepare":
        return prepare(job, services, run)
    if request.step == "plan":
        return make_plan(job, services, run)
    if request.step == "release":
        return release(job, services, run)
    return commit(job, services)


def prepare(job: Job, services: Services, run: MachineRun) -> StepResult:
    """Take the lease, record the run, look at the source; nothing to do if the backup exists."""
    told = run.model_dump(mode="json")
    if services.store.head(job.layout.manifest(job.id)) is not None:
        return StepResult(run=told, go=False)
    deadline = job.started + timedelta(seconds=services.max_run_seconds)
    catalogue = services.catalogue
    catalogue.acquire(job.database, job.attempt, deadline)
    catalogue.start_run(job.database, "backup", job.attempt, deadline)
    catalogue.begin(job.database, job.id, job.request.type, job.started, job.request.reason)
    _require_running(services, run)
    limits = job.registration.limits
    findings = inspect(job.source, services, job.database, job.seconds_left, limits=limits, on_machine=True)
    preflight.raise_refusal(findings, job.target.label)
    store = sealing(job, services, _attempt_before(catalogue, run)).store
    ledger, pause = catalogue.ledger(job.database, job.attempt), 2 * int(job.registration.waiters or 30)
    seal = store.seal.key.model_dump_json(by_alias=True) if store.seal.key else ""
    if not ledger.open(job.id, deadline, version=VERSION, pause=pause, seal=seal):
        store = as_begun(services, _current(ledger, job)).store  # as this step did when it was done before
    with scratch_folder(services.scratch, "prepare") as folder:
        known = folder / "known"
        write_known_chunks(store, job.database, known, stored_before(catalogue, run))
        write_known_file(job, store, known)
    return StepResult(run=told, concurrency=job.registration.concurrency, bucket=services.store.bucket)


def _require_running(services: Services, run: MachineRun) -> None:
    """Let go of all that was taken, if the execution was stopped before: who cleaned up then found nothing.

    Raises
    ------
    BackupStoppedError
    """
    if not services.is_running(run.execution):
        error = BackupStoppedError("the state machine's execution was stopped before the backup was begun")
        abort(services, run, {"Error": type(error).__name__, "Cause": str(error)}, final=True)
        raise error


def make_plan(job: Job, services: Services, run: MachineRun) -> StepResult:
    """Write everything but the rows under the snapshot, and what the workers are to read.

    Done again it answers with the plan that counts: the ledger takes one.
    """
    ledger = services.catalogue.ledger(job.database, job.attempt)
    state = _current(ledger, job)
    if not state.plan:
        _write_plan(job, as_begun(services, state), ledger)
        state = _current(ledger, job)
    return StepResult(
        run=run.model_dump(mode="json"),
        go=state.batches > 0,
        concurrency=job.registration.concurrency,
        bucket=services.store.bucket,
        batches_key=batches_key(job, state.plan),
    )


def _write_plan(job: Job, services: Services, ledger: Ledger) -> None:
    """Wait for the snapshot, write a plan, and offer it to the ledger."""
    locked = locking(job, services)
    with scratch_folder(services.scratch, "plan") as folder, _under_snapshot(job, ledger) as session:
        source = describe_source(session)
        snapshot = _current(ledger, job).snapshot
        schema = write_schema(job, locked, source.tools_major, snapshot, folder)
        files = [schema, write_globals(job, locked, source, folder)]
        catalog = write_catalog_part(job, locked, source, folder)
    plan, batches = secrets.token_hex(8), plan_batches(source.inventory.relations)
    draft = draft_manifest(job, source, files, services.store.seal)
    write_draft(job, services.store, plan, draft, catalog, batches)
    write_batches(job, services.store, plan, batches)
    total = sum(batch.size for batch in batches)
    if ledger.planned(plan, batches=len(batches), total=total):
        services.catalogue.progress(job.database, job.id, rows=0, done=0, total=total)


def release(job: Job, services: Services, run: MachineRun) -> StepResult:
    """All rows were read: the snapshot isn't needed any more.

    Raises
    ------
    BackupIncompleteError
        If a batch is missing.
    """
    ledger = services.catalogue.ledger(job.database, job.attempt)
    state = _current(ledger, job)
    _, _, planned = read_draft(job, as_begun(services, state).store, state.plan)
    check_batches({record.name: record for record in ledger.batches()}, planned)
    if not ledger.end("open", "released") and _current(ledger, job).state != "released":
        raise _over(job)
    return StepResult(run=run.model_dump(mode="json"))


def commit(job: Job, services: Services) -> BackupResult:
    """Count what the parts hold, write the manifest, tell of it, and let the lease go."""
    ledger = services.catalogue.ledger(job.database, job.attempt)
    state = ledger.read()
    if state is None or state.state != "released":
        if services.store.head(job.layout.manifest(job.id)) is None:
            raise _over(job)
        let_go(services, job.database, job.attempt)  # which the one before may not have come to
        return BackupResult(database=job.database, backup_id=job.id, status="skipped")
    job.require_own_version(state)
    services = as_begun(services, state)
    locked = locking(job, services)
    draft, catalog, planned = read_draft(job, services.store, state.plan)
    records = check_batches({record.name: record for record in ledger.batches()}, planned)
    parts = [PartFile.model_validate(json.loads(record.part)) for record in records]
    with scratch_folder(services.scratch, "commit") as folder:
        parts = join_parts(locked.store, job.prefix, parts, folder)
    captured = Captured.of(records, planned)
    tally = tally_parts(services.store, [catalog, *parts])
    captured.check(tally)
    new = New(captured.new_chunks, captured.new_bytes)
    manifest = complete_manifest(draft, job, locked.store, tally, [catalog, *parts], new=new)
    result = finish(job, locked, manifest, [])
    ledger.end("released", "committed")
    let_go(services, job.database, job.attempt)
    remember_rate(services, manifest, size=captured.size, worker_seconds=captured.worker_seconds)
    return result


def stored_before(catalogue: Catalogue, run: MachineRun) -> Iterator[PartFile]:
    """The parts of earlier attempts: what they stored needn't be sent again."""
    for tries in range(1, run.tries):
        ledger = _ledger_of(catalogue, run, tries)
        if _is_own(ledger.read()):
            for record in ledger.batches():
                yield PartFile.model_validate(json.loads(record.part))


def _attempt_before(catalogue: Catalogue, run: MachineRun) -> Progress | None:
    """How far the attempt before this one came; None if there was none that this version reads."""
    state = _ledger_of(catalogue, run, run.tries - 1).read() if run.tries > 1 else None
    return state if _is_own(state) else None


def _ledger_of(catalogue: Catalogue, run: MachineRun, tries: int) -> Ledger:
    return catalogue.ledger(run.database, run.model_copy(update={"tries": tries}).attempt)


def _is_own(state: Progress | None) -> bool:
    return state is not None and state.version == VERSION


def _over(job: Job) -> BackupOverError:
    return BackupOverError(f"the backup {job.id} of {job.database} has ended already")


def _current(ledger: Ledger, job: Job) -> Progress:
    state = ledger.read()
    if state is None or state.state in ("failed", "committed"):
        raise _over(job)
    job.require_own_version(state)
    return state


@contextmanager
def _under_snapshot(job: Job, ledger: Ledger) -> Iterator[Session]:
    """A session under the run's snapshot, as soon as there is one."""
    until = time.monotonic() + min(SNAPSHOT_SECONDS, job.seconds_left)
    while not (snapshot := _current(ledger, job).snapshot):
        if time.monotonic() > until:
            raise DeadlineExceededError(f"nobody opened a snapshot for {job.id} of {job.database} in time")
        time.sleep(POLL_SECONDS)
    while True:
        with open_session(
            job.target, seconds=max(1.0, job.seconds_left), application=job.application
        ) as session:
            try:
                import_snapshot(session, snapshot)
            except SnapshotLostError:
                newer = _current(ledger, job).snapshot
                if newer == snapshot:
                    raise
                snapshot = newer  # it was handed over at this very moment
                continue
            yield session
            return
