"""How a restore on the state machine ends: well, or given up, or stopped by hand.

What was restored until then stays under its working name: it can go on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from coffre.catalogue.entries import RestoreEntry
from coffre.catalogue.ledger import Progress
from coffre.databases.postgresql.connection import literal, open_session
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    CoffreError,
    FunctionFailedError,
    FunctionUnavailableError,
    RestoreIncompleteError,
    RestoreStoppedError,
)
from coffre.events.restore_machine import RestoreEnded, RestoreRun
from coffre.ids import moment, stamp, utc_now
from coffre.notify.machines import caught
from coffre.observability import log
from coffre.restore.history import keep
from coffre.restore.job import Services
from coffre.restore.leftovers import working_name
from coffre.results import RestoreResult, RestoreStep

_OF_A_WORKER = {FunctionFailedError.code, FunctionUnavailableError.code, RestoreIncompleteError.code}
"""What the machine says where a worker's own last words tell more."""

LOOKED_AT = 50
ENDING_SECONDS = 20.0


def abort(
    services: Services, run: RestoreRun, error: dict[str, Any] | None, target: Callable[[], Target]
) -> RestoreStep:
    """Give up a restore that failed: its workers end, and everybody is told why.

    It may be called twice, and for a restore that has come to its end after all.

    Parameters
    ----------
    error:
        What the state machine caught: ``Error`` and ``Cause``.
    target:
        Finds the target; its secret may be what is wrong.
    """
    ledger = services.catalogue.ledger(run.database, run.attempt)
    code, message = caught(error)
    if code in _OF_A_WORKER:
        code, message = ledger.fault(batches_of(run)) or (code, message)
    state = ledger.read()
    if state is not None and state.tries == run.tries:
        fail(services, run, code, message)
        _end_sessions(run, target)
    return RestoreStep(run=run.short(), go=False)


def clean_up(services: Services, ended: RestoreEnded, target: Callable[[], Target]) -> RestoreStep:
    """End what an execution left that was stopped by hand, or whose time was over."""
    error = RestoreStoppedError(f"the state machine's execution ended: {ended.status}")
    return abort(services, ended.run, {"Error": type(error).__name__, "Cause": str(error)}, target)


def fail(services: Services, run: RestoreRun, code: str, message: str) -> None:
    """Say that a restore failed: in the ledger, the history and an event; let the backup go.

    Called again it says what is missing: a function may be killed between any two of these.
    """
    catalogue = services.catalogue
    ledger = catalogue.ledger(run.database, run.attempt)
    state = ledger.read()
    if state is None or state.tries != run.tries or not (ledger.fail() or state.state == "failed"):
        return  # it goes on in another execution, or has ended well
    try:
        if len(_kept(services, run, "failed")) < run.tries:  # each try before has failed, too
            keep(catalogue, history(run, state, status="failed", error_code=code, error_message=message))
        if state.told < run.tries:
            told = {"database": run.database, "backup_id": run.backup_id, "code": code, "message": message}
            services.publisher.publish("Restore Failed", told)
            ledger.announce(run.tries)
    finally:
        catalogue.end_run(run.database, run.run_id)


def succeed(services: Services, run: RestoreRun, result: RestoreResult) -> None:
    """Say that a restore is done: in the ledger, the history and an event; let the backup go.

    Called again it says what is missing: a function may be killed between any two of these.
    """
    catalogue = services.catalogue
    ledger = catalogue.ledger(run.database, run.attempt)
    state = ledger.read()
    ledger.conclude(result.model_dump_json())
    try:
        if not _kept(services, run, "completed"):
            done = history(
                run,
                state,
                status="completed",
                kept_as=result.kept_as,
                safety_backup=result.safety_backup,
                tables=result.tables,
                rows=result.rows,
                bytes=result.bytes,
                exceptions=len(result.exceptions),
            )
            keep(catalogue, done)
        if state is None or state.told < run.tries:
            services.publisher.publish("Restore Completed", result.answer())
            ledger.announce(run.tries)
    finally:
        catalogue.end_run(run.database, run.run_id)


def batches_of(run: RestoreRun) -> str:
    """How the names of a try's batches begin in the ledger."""
    return f"{run.tries}-"


def history(run: RestoreRun, state: Progress | None, **values: Any) -> RestoreEntry:
    """A restore's entry in the history, as of now."""
    now = utc_now()
    took = (now - moment(state.started)).total_seconds() if state is not None else 0.0
    entry = {
        "database": run.database,
        "time": stamp(now),
        "kind": "swap" if run.aside else "new",
        "backup_id": run.backup_id,
        "target": run.target,
        "target_database": run.target_database,
        "milliseconds": round(took * 1000),
        "where": "machine",
        "token": run.request.token,
    }
    return RestoreEntry(**{**entry, **values})


def _kept(services: Services, run: RestoreRun, status: str) -> list[RestoreEntry]:
    """What the history holds of this restore already."""
    entries = islice(services.catalogue.restores(run.database), LOOKED_AT)
    return [entry for entry in entries if (entry.token, entry.status) == (run.request.token, status)]


def _end_sessions(run: RestoreRun, target: Callable[[], Target]) -> None:
    """End what still runs in the database that was being filled: an index may outlive who asked for it."""
    try:
        wanted = target()
        name = literal(working_name(wanted.database, run.attempt))
        with open_session(
            wanted.maintenance, seconds=ENDING_SECONDS, application="coffre/restore"
        ) as session:
            session.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname = {name} AND usename = current_user"
            )
    except CoffreError as error:
        log("sessions of a restore that failed may go on", run=run.run_id, reason=error.message)
