"""One worker of a restore on the state machine: loads rows, reads them back, or builds what follows them.

It may be repeated, doubled or killed at any moment: each piece of work is noted in the database that is
filled, in the transaction that does it (`coffre.databases.postgresql.notes`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from coffre.databases.postgresql.load import relation_of
from coffre.databases.postgresql.load_path import SEARCH_PATH
from coffre.databases.postgresql.notes import only_one
from coffre.databases.postgresql.refused import load_failed, under_paths
from coffre.databases.postgresql.schema import SUBSCRIPTION
from coffre.databases.postgresql.set_aside import SetAsideChecks
from coffre.errors import CoffreError, DeadlineExceededError, RestoreOverError
from coffre.events.restore_machine import LoadItem
from coffre.restore.ending import batches_of
from coffre.restore.late import archive_of, waves_of
from coffre.restore.machine import MachineJob
from coffre.restore.pieces import Run, runs
from coffre.results import LoadResult
from coffre.vault.contents import scratch_folder
from coffre.vault.parts import encode_record
from coffre.vault.reader import read_part
from coffre.workers import Message

WORKING_SHARE = 0.85
"""Of the function's time at most; what was begun by then is still done."""

LEDGER_SECONDS = 3.0
"""How often a worker looks whether its restore still goes on."""


class _TimeOverError(Exception):
    """The function ends, and what it asked the server for goes on without it; never leaves this module."""


class Clock:
    """The time that a worker has, on `time.monotonic`'s clock.

    Parameters
    ----------
    seconds:
        Until it must have ended.
    working_seconds:
        Until it begins nothing further.
    """

    def __init__(self, seconds: float, working_seconds: float) -> None:
        began = time.monotonic()
        self.stops = began + min(working_seconds, WORKING_SHARE * seconds)
        self.ends = began + seconds

    @property
    def is_over(self) -> bool:
        """Whether nothing further is begun."""
        return time.monotonic() > self.stops


def do_item(job: MachineJob, item: LoadItem, clock: Clock) -> LoadResult:
    """Do an item, or as much of it as there is time for: at least one piece, and the rest is a new item.

    Raises
    ------
    CoffreError
        Also told in the ledger, for whoever ends the restore.
    """
    job.goes_on()
    work = {"rows": _load, "digests": _compare, "late": _build}[item.kind]
    try:
        reached, rows = work(job, item, clock)
    except CoffreError as error:
        if not isinstance(error, RestoreOverError):
            job.ledger.tell_batch(_name(job, item), error.code, error.message)
        raise
    if reached < item.end:
        return LoadResult(again=True, item=item.model_copy(update={"first": reached}).short(), rows=rows)
    job.ledger.settle(_name(job, item))
    return LoadResult(rows=rows)


def _name(job: MachineJob, item: LoadItem) -> str:
    return f"{batches_of(job.run)}{item.name}"


class _Watch:
    """What is looked after while work goes on: the time, and whether the restore still does."""

    def __init__(self, job: MachineJob, clock: Clock, over: Callable[[], Exception]) -> None:
        self._job = job
        self._clock = clock
        self._over = over
        self._looked = time.monotonic()

    def look(self) -> None:
        """Raise what ends the work."""
        now = time.monotonic()
        if now > self._clock.ends:
            raise self._over()
        if now - self._looked >= LEDGER_SECONDS:
            self._looked = now
            self._job.goes_on()
            self._job.ledger.moving()


def _late(job: MachineJob, item: LoadItem) -> DeadlineExceededError:
    return DeadlineExceededError(f"{item.name} of {job.run.run_id} didn't fit into its function's time")


def _setup(job: MachineJob, task: str, clock: Clock, **more: object) -> Message:
    return {
        "task": task,
        "target": asdict(job.working),
        "seconds": max(1.0, clock.ends - time.monotonic()),
        "encoding": job.manifest.settings["client_encoding"],
        "attempt": job.run.attempt,
        **more,
    }


# Rows


def _load(job: MachineJob, item: LoadItem, clock: Clock) -> tuple[int, int]:
    """Load runs; the first one that there was no time for, and the rows."""
    with job.session() as session:
        loaded = job.notes(session).loaded(item.part)
    part = job.manifest.parts[item.part]
    wanted = (run for run in runs(read_part(job.services.store, part)) if item.first <= run.number < item.end)
    reached = _Reached(item.end)
    messages = reached.until(
        clock, (_message(item, run) for run in wanted if run.number not in loaded), "run"
    )
    refused, rows = _load_runs(job, item, clock, messages)
    if refused:
        _take_checks_off(job, [message for message, _ in refused])
        again, more = _load_runs(job, item, clock, iter([message for message, _ in refused]))
        rows += more
        rows += _load_by_path(job, item, clock, again)
    return reached.number, rows


def _load_by_path(
    job: MachineJob, item: LoadItem, clock: Clock, refused: list[tuple[Message, Message]]
) -> int:
    """Load under a search path what is refused without, and note the tables; the rows."""
    if not refused:
        return 0
    with job.session() as session:
        own = job.notes(session).fact(SEARCH_PATH) or ""
    messages, exceptions = under_paths(refused, own)
    still, rows = _load_runs(job, item, clock, iter(messages))
    if still:
        raise load_failed(*refused[0])
    with job.session() as session:
        for finding in exceptions:
            job.notes(session).tell(json.dumps(finding.model_dump()))
    return rows


def _load_runs(
    job: MachineJob, item: LoadItem, clock: Clock, messages: Iterator[Message]
) -> tuple[list[tuple[Message, Message]], int]:
    """Load runs; those whose rows the server refused, with what it said, and the rows that it took."""
    refused, rows = [], 0
    watch = _Watch(job, clock, lambda: _late(job, item))
    store = job.services.store
    reading = {"bucket": store.bucket, "seal": store.seal.hand_over()}
    setup = _setup(job, "load", clock, as_owner=False, **reading)
    with job.services.start_workers([setup], watch.look) as pool:
        for message, answer in pool.map(messages):
            if "refused" in answer:
                refused.append((message, answer["refused"]))
            elif answer["bytes"]:
                rows += answer["rows"]
                job.ledger.add(rows=answer["rows"], done=answer["bytes"])
        pool.finish()
    return refused, rows


def _message(item: LoadItem, run: Run) -> Message:
    return {
        "relation": encode_record(run.relation).decode(),
        "label": run.relation.label,
        "chunks": [encode_record(chunk).decode() for chunk in run.chunks],
        "part": item.part,
        "run": run.number,
    }


def _take_checks_off(job: MachineJob, refused: list[Message]) -> None:
    """Set the CHECK constraints aside that may refuse rows; they come back when all rows are there."""
    with job.session() as session:
        only_one(session, job.run.attempt)
        notes = job.notes(session)
        checks = SetAsideChecks(lambda _: job.session(), notes.put_aside)
        checks.take_off({message["relation"]: relation_of(message) for message in refused}.values())


class _Reached:
    """Hands out messages as long as there is time; ``number`` is where the rest begins."""

    def __init__(self, end: int) -> None:
        self.number = end

    def until(self, clock: Clock, messages: Iterator[Message], key: str) -> Iterator[Message]:
        """The messages, the first one in any case."""
        for count, message in enumerate(messages):
            if count and clock.is_over:
                self.number = int(message[key])
                return
            yield message


# Content


def _compare(job: MachineJob, item: LoadItem, clock: Clock) -> tuple[int, int]:
    """Read relations back; the first one that there was no time for, and the rows."""
    page, rows = (item.pages[0] if item.pages else 0), 0
    reached = _Reached(item.end)
    with job.session() as session:
        notes = job.notes(session)
        wanted = (
            {**one.item(), "number": number, "pages": item.pages}
            for number, one in notes.expected(item.first, item.end)
            if not notes.count_compared(number, number + 1, page)
        )
        watch = _Watch(job, clock, lambda: _late(job, item))
        with job.services.start_workers([_setup(job, "compare", clock)], watch.look) as pool:
            for message, answer in pool.map(reached.until(clock, wanted, "number")):
                found = (answer["rows"], answer["digest"], answer["generated"])
                notes.note_compared(message["number"], page, *found)
                rows += answer["rows"]
            pool.finish()
    return reached.number, rows


# What follows the rows


def _build(job: MachineJob, item: LoadItem, clock: Clock) -> tuple[int, int]:
    """Build entries of a wave; the first one that there was no time for, and no rows.

    An entry that takes longer than this function goes on at the server; the next one waits for it.
    """
    with scratch_folder(job.services.scratch, "build") as folder:
        with job.session() as session:
            archive = archive_of(job, session, folder)
            built = job.notes(session).built()
        wave = next(wave for wave in waves_of(archive) if wave.number == item.part)
        entries = wave.entries[item.first : item.end]
        wanted = [
            {"entry": one.dump_id, "position": position, "subscription": one.description == SUBSCRIPTION}
            for position, one in enumerate(entries, item.first)
            if one.dump_id not in built
        ]
        reached, doing = _Reached(item.end), _Doing(item.first)
        setup = _setup(
            job,
            "late",
            clock,
            archive=str(archive.path),
            tools=str(Path(job.services.tools.root)),
            major=archive.major,
            options=list(archive.options),
            deadline=clock.ends,
        )
        watch = _Watch(job, clock, _TimeOverError)
        try:
            with job.services.start_workers([setup], watch.look) as pool:
                for _ in pool.map(doing.noted(reached.until(clock, iter(wanted), "position"))):
                    continue
                pool.finish()
        except _TimeOverError:
            return doing.position, 0
    return reached.number, 0


class _Doing:
    """Knows what was handed out last."""

    def __init__(self, position: int) -> None:
        self.position = position

    def noted(self, messages: Iterator[Message]) -> Iterator[Message]:
        """The same messages."""
        for message in messages:
            self.position = int(message["position"])
            yield message
