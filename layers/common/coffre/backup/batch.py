"""One worker of a backup on the state machine: captures one batch, once, and leaves what it has no time for.

It reads as the workers of a backup in one function do (`coffre.backup.task`); what is different is that it
may be repeated, doubled or ended at any moment, and finds the snapshot in the ledger.
"""

from __future__ import annotations

import json
import secrets
import time
from functools import reduce

from coffre.backup.feed import locking, worker_setup
from coffre.backup.job import Job, Services
from coffre.backup.paperwork import fetch_known_file, read_batch, rest_name, write_batch
from coffre.backup.politeness import too_busy, wait_seconds
from coffre.backup.sealed import as_begun
from coffre.backup.slices import Clock, Outcome, steps
from coffre.catalogue.ledger import BatchRecord, Ledger, Progress
from coffre.errors import BackupOverError, CoffreError, DeadlineExceededError, SnapshotLostError
from coffre.observability import log
from coffre.results import CaptureResult
from coffre.vault.contents import scratch_folder
from coffre.vault.digest import add_digests
from coffre.workers import Message

READING_SHARE = 0.85
"""Of the function's time at most is for reading."""

LEDGER_SECONDS = 3.0
"""How often a worker looks whether its backup still goes on."""


def capture_batch(
    job: Job, services: Services, name: str, *, seconds: float, reading_seconds: float
) -> CaptureResult:
    """Capture a batch, or say when to come again.

    Parameters
    ----------
    seconds:
        How long this function may go on.
    reading_seconds:
        How long it reads; the last uploads need time, too.

    Raises
    ------
    CoffreError
        Also told in the ledger, for whoever ends the run.
    """
    ledger = services.catalogue.ledger(job.database, job.attempt)
    began = time.monotonic()
    clock = Clock(began, began + min(reading_seconds, READING_SHARE * seconds), began + seconds)
    state = _still_open(ledger, job)
    try:
        job.require_own_version(state)
        done = ledger.batch(name)
        if done is not None:
            return CaptureResult(rest=done.rest, rows=done.rows)
        services = as_begun(services, state)
        busy = too_busy(job.target, job.registration.limits, job.application)
        if busy:
            log("the source is busy", database=job.database, batch=name, reason=busy)
            ledger.moving()
            return CaptureResult(wait=wait_seconds(ledger.count(name, "waits")))
        outcome, answer = _capture(job, services, ledger, name, clock, state)
    except CoffreError as error:
        if not isinstance(error, BackupOverError):
            ledger.tell_batch(name, error.code, error.message)
        raise
    rest = _leave_rest(job, services, state.plan, name, outcome)
    return _record(ledger, name, rest, outcome, answer, clock)


def _capture(
    job: Job, services: Services, ledger: Ledger, name: str, clock: Clock, state: Progress
) -> tuple[Outcome, Message]:
    by_pages = ledger.count(name, "attempts") > 0
    locked = locking(job, services)
    items = read_batch(job, services.store, state.plan, name)
    while True:
        with scratch_folder(services.scratch, "capture") as folder:
            known = fetch_known_file(job, services.store, folder)
            setup = worker_setup(job, locked, name, folder, known)
            setup["seconds"] = max(1.0, clock.ends - time.monotonic())
            outcome = Outcome()
            asked = steps(items, clock, state.snapshot, outcome, by_pages=by_pages)
            try:
                with services.start_workers([setup], _Watch(job, ledger, clock).look) as pool:
                    outcome.ends = [end for _, answer in pool.map(asked) for end in answer["ends"]]
                    (answer,) = pool.finish()
            except SnapshotLostError:
                # A hand-over between our look and the import; it happens before anything is read.
                newer = _still_open(ledger, job)
                if newer.snapshot == state.snapshot:
                    raise
                state = newer
            else:
                return outcome, answer


def _still_open(ledger: Ledger, job: Job) -> Progress:
    state = ledger.read()
    if state is None or state.state != "open":
        raise BackupOverError(f"the backup {job.id} of {job.database} isn't running any more")
    return state


class _Watch:
    """What is looked after while rows are read: the time, and whether the backup still goes on."""

    def __init__(self, job: Job, ledger: Ledger, clock: Clock) -> None:
        self._job = job
        self._ledger = ledger
        self._clock = clock
        self._looked = time.monotonic()
        self._size = 0

    def look(self) -> None:
        """Raise what ends the work."""
        now = time.monotonic()
        if now > min(self._clock.ends, self._job.ends):
            raise DeadlineExceededError(
                f"a batch of {self._job.id} of {self._job.database} didn't fit into its function's time"
            )
        if now - self._looked < LEDGER_SECONDS:
            return
        self._looked = now
        if self._size != self._clock.size:
            self._size = self._clock.size
            self._ledger.moving()
        _still_open(self._ledger, self._job)


def _leave_rest(job: Job, services: Services, plan: str, name: str, outcome: Outcome) -> str:
    """Write a batch of what there was no time for; its name, or nothing if there was for everything."""
    if not outcome.rest:
        return ""
    rest = rest_name(name, secrets.token_hex(3))
    write_batch(job, services.store, plan, rest, outcome.rest)
    return rest


def _record(
    ledger: Ledger, name: str, rest: str, outcome: Outcome, answer: Message, clock: Clock
) -> CaptureResult:
    """Record what was captured; whoever recorded the same batch before counts."""
    record = BatchRecord(
        name,
        part=json.dumps(answer["part"]),
        sections=len(outcome.ends),
        rows=sum(end["rows"] for end in outcome.ends),
        bytes=sum(end["bytes"] for end in outcome.ends),
        digest=reduce(add_digests, (end["digest"] for end in outcome.ends), "0"),
        new_chunks=answer["new_chunks"],
        new_bytes=answer["new_bytes"],
        size=clock.size,
        milliseconds=int((time.monotonic() - clock.began) * 1000),
        rest=rest,
    )
    counted = ledger.finish(record)
    return CaptureResult(rest=counted.rest, rows=counted.rows)
