"""What a backup answers."""

from __future__ import annotations

from typing import Any, Literal

from coffre.results.finding import Finding, Result


class BackupResult(Result):
    """A backup that was taken, started on the state machine, skipped because it exists, or only checked.

    ``where`` says why it ran, or runs, in one function or on the state machine.  ``phases``: seconds by
    phase, where one function took it.
    """

    database: str
    backup_id: str
    status: Literal["completed", "started", "skipped", "checked"]
    where: str = ""
    rows: int = 0
    bytes: int = 0
    stored_bytes: int = 0
    new_bytes: int = 0
    chunks: int = 0
    new_chunks: int = 0
    relations: int = 0
    seconds: float = 0.0
    phases: dict[str, float] = {}
    root_hash: str = ""
    findings: list[Finding] = []


class HolderResult(Result):
    """How the life of one holder of a snapshot ended."""

    holder: int
    ended: Literal["handed-over", "over", "abandoned", "failed"]
    code: str = ""


class CaptureResult(Result):
    """A batch that was captured.

    Attributes
    ----------
    wait:
        Seconds after which it is to be tried again, because the source is busy; 0 if it was captured.
    rest:
        The name of the batch with what there was no time for; empty if there was for everything.
    """

    wait: int = 0
    rest: str = ""
    rows: int = 0


class StepResult(Result):
    """What a step of a backup on the state machine tells the machine.

    Attributes
    ----------
    run:
        The run that the next states work on.
    go:
        Whether to go on: false where the backup exists, after the last attempt, and where there are no rows.
    wait:
        Seconds until the next attempt.
    concurrency, batches_key:
        How many workers read at the same time, and where the list of batches is.
    """

    run: dict[str, Any]
    go: bool = True
    wait: int = 0
    concurrency: int = 1
    bucket: str = ""
    batches_key: str = ""


class PlannedBatch(Result):
    """What one worker will do in one go: some relations, or some pages of one."""

    number: int
    relations: list[str]
    more: int
    pages: tuple[int, int | None] | None
    bytes: int
    seconds: float


class SnapshotCost(Result):
    """What keeping the snapshot open costs the source.

    Attributes
    ----------
    seconds:
        How long it is held: no dead row younger than it is removed meanwhile, in any database of the server.
    tables:
        Locked in ACCESS SHARE mode: no DDL, TRUNCATE or VACUUM FULL on them.
    dead_rows:
        Rows that updates and deletes will leave behind in this time, at the rate since the statistics were
        reset; None if that isn't known.
    oldest_transactions:
        Transactions that the server's oldest snapshot is behind already.
    """

    seconds: float
    tables: int
    dead_rows: int | None
    oldest_transactions: int


class BackupPlan(Result):
    """What a backup would do now, how long it would take and cost; nothing is written for it.

    Attributes
    ----------
    where:
        Whether it would run in one function or on the state machine; ``reason`` says why.
    listed:
        The largest batches.
    rate:
        Bytes on the source's disk that a worker reads in a second; ``measured`` says when that was, and is
        empty if it is only assumed.
    requests, dollars:
        By service, if every chunk is new; ``dollars`` at the prices as of ``prices_as_of``.
    """

    database: str
    where: Literal["function", "machine"]
    reason: str
    relations: int
    bytes: int
    batches: int
    listed: list[PlannedBatch]
    workers: int
    seconds: float
    rate: int
    measured: str
    requests: dict[str, int]
    dollars: dict[str, float]
    storage_dollars_month: float
    prices_as_of: str
    snapshot: SnapshotCost


class FanOutResult(Result):
    """The databases for which a backup, or a drill, was started.

    Attributes
    ----------
    failed:
        Those whose registration isn't valid, with the error that an invocation of their own ends with.
    """

    started: list[str]
    failed: dict[str, str] = {}
