"""What restores, undos and drills answer."""

from __future__ import annotations

from typing import Any, Literal

from coffre.results.finding import Finding, Named, Result
from coffre.results.health import EndpointAnswer


class RestorePlan(Result):
    """What a restore will do; ``token`` confirms exactly this, once, until ``expires``.

    Attributes
    ----------
    kept_as:
        Mode ``swap``: the name that the database in place will have.
    safety_backup:
        Mode ``swap``: the registered database that is backed up first.
    sessions:
        Mode ``swap``: how many sessions are open with the database in place; they will be ended.
    into:
        Mode ``tables``: the schema that is made for them.
    comes_along:
        Mode ``tables``: the tables and what they are made of, as phrases; the findings say what stays out.
    estimate_seconds:
        How long it will take, by ``estimate_basis``; None if nothing was measured.
    where, reason:
        Whether it will run in one function or on the state machine, and why.
    """

    action: Literal["plan"] = "plan"
    mode: Literal["new", "swap", "tables"] = "new"
    token: str
    expires: str = ""
    database: str
    backup_id: str
    target: str
    target_database: str
    creates_database: bool
    kept_as: str | None = None
    safety_backup: str | None = None
    sessions: int = 0
    into: str | None = None
    comes_along: list[Named] = []
    roles_to_create: list[Named]
    roles_mapped: dict[str, str] = {}
    tables: int
    rows: int
    bytes: int
    estimate_seconds: float | None = None
    estimate_basis: str = ""
    where: Literal["function", "machine"] = "function"
    reason: str = ""
    findings: list[Finding]


class RestoreResult(Result):
    """A restore that was run, or started on the state machine.

    Attributes
    ----------
    status:
        ``started``: it goes on, on the state machine; ``application-down``: the database is
        restored and in its place, and an endpoint of the application doesn't answer as it should.
    into:
        Mode ``tables``: the schema that holds them.
    kept_as:
        The name of the database that it replaced.
    exceptions:
        What it had to leave out, if that was accepted.
    endpoints:
        What the application's endpoints answered after a swap.
    """

    action: Literal["run"] = "run"
    mode: Literal["new", "swap", "tables"] = "new"
    status: Literal["completed", "started", "application-down"] = "completed"
    where: Literal["function", "machine"] = "function"
    database: str
    backup_id: str
    root_hash: str = ""
    target_database: str
    into: str | None = None
    kept_as: str | None = None
    safety_backup: str | None = None
    tables: int
    rows: int
    bytes: int
    seconds: float
    digests_equal: bool
    phases: dict[str, float]
    findings: list[Finding]
    exceptions: list[Finding] = []
    endpoints: list[EndpointAnswer] = []


class RestoreStep(Result):
    """What a step of a restore on the state machine tells the machine.

    Attributes
    ----------
    run:
        The run that the next states work on.
    go:
        Whether there are items to do.
    again:
        The step's time ended before its work: it is to be called again.
    items, concurrency:
        What workers are to do, and how many of them at the same time.
    report:
        What the checks found; for the last step.
    """

    run: dict[str, Any]
    go: bool = True
    again: bool = False
    items: list[dict[str, Any]] = []
    concurrency: int = 1
    report: dict[str, Any] = {}


class LoadResult(Result):
    """What a worker of a restore did; ``again`` if there is a rest, which is the ``item`` then."""

    again: bool = False
    item: dict[str, Any] = {}
    rows: int = 0


class UndoPlan(Result):
    """Which database an undo puts back; ``token`` confirms exactly this, once, until ``expires``.

    Attributes
    ----------
    comes_back:
        The database that gets the name ``target_database`` back.
    kept_as:
        The name that the one in place will have; None if there is none.
    """

    action: Literal["plan"] = "plan"
    mode: Literal["undo"] = "undo"
    token: str
    expires: str = ""
    database: str
    target: str
    target_database: str
    comes_back: str
    replaced_at: str
    kept_as: str | None
    sessions: int
    findings: list[Finding] = []


class UndoResult(Result):
    """A swap that was undone; status and endpoints as in `RestoreResult`."""

    action: Literal["run"] = "run"
    mode: Literal["undo"] = "undo"
    status: Literal["completed", "application-down"] = "completed"
    database: str
    target_database: str
    came_back: str
    kept_as: str | None
    seconds: float
    findings: list[Finding] = []
    endpoints: list[EndpointAnswer] = []


class DrillResult(Result):
    """A rehearsed restore.

    Attributes
    ----------
    exercise:
        It is the quarter's: a protocol is written about it.
    started, completed:
        RFC 3339, UTC.
    exceptions:
        What had to be left out, if that was accepted.
    seconds, phases:
        How long it took, in all and each part of it.
    kept_as:
        The database that was left on the scratch server; None: it was dropped.
    """

    database: str
    backup_id: str
    status: Literal["completed"] = "completed"
    exercise: bool = False
    root_hash: str = ""
    started: str = ""
    completed: str = ""
    server: str
    kept_as: str | None
    tables: int = 0
    rows: int
    bytes: int
    seconds: float
    phases: dict[str, float]
    digests_equal: bool
    findings: list[Finding]
    exceptions: list[Finding] = []
