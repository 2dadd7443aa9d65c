"""The end of an attempt on the state machine that failed: it lets go of everything, and tells why.

It needs nothing of the database: its registration or its secret may be what is wrong.
"""

from __future__ import annotations

from typing import Any

from coffre.backup.finish import let_go
from coffre.backup.job import Services
from coffre.catalogue.ledger import Progress
from coffre.errors import (
    BackupStoppedError,
    CatalogueUnavailableError,
    FunctionFailedError,
    FunctionUnavailableError,
    RunOfAnotherVersionError,
    SnapshotLostError,
    SourceUnreachableError,
    StoreUnavailableError,
)
from coffre.events.backup import MachineEnded, MachineRun
from coffre.notify import machines
from coffre.results import StepResult
from coffre.vault.layout import Layout

TRIES = 3
"""Attempts at a backup, each from a new snapshot."""

AGAIN = {
    "snapshot-lost",
    "connection-lost",
    "waiters-present",
    "lock-not-granted",
    "catalog-changed",
    FunctionUnavailableError.code,
    RunOfAnotherVersionError.code,
    StoreUnavailableError.code,
    CatalogueUnavailableError.code,
}
"""What may be gone by the next attempt."""

PAUSE = 60
"""Seconds before another attempt, where the first didn't come far enough to say."""

DEPLOYMENT = 300
"""The same after a deployment: it changes one function after the other, which takes minutes."""

_SILENT = {"States.HeartbeatTimeout", "States.Timeout"}


def abort(
    services: Services, run: MachineRun, error: dict[str, Any] | None, *, final: bool = False
) -> StepResult:
    """End an attempt that failed: workers and holder find out by the ledger; tell why, or try again.

    It may be called twice, and for an attempt that had come to nothing or is committed.  Killed at any moment
    and called again it does what is missing, and answers the same.

    Parameters
    ----------
    error:
        What the state machine caught: ``Error`` and ``Cause``.
    final:
        Nobody would make another attempt.
    """
    catalogue, ledger = services.catalogue, services.catalogue.ledger(run.database, run.attempt)
    nothing = StepResult(run=run.model_dump(mode="json"), go=False)
    lease, state = catalogue.lease(run.database), ledger.read()
    holds = lease is not None and lease.holder == run.attempt
    if state is not None:
        ledger.fail()
    if (state is not None and state.state == "committed") or _exists(services, run):
        let_go(services, run.database, run.attempt)  # it was committed after all, or by another run
        return nothing
    ours = state is not None or holds or lease is None
    code, message = ledger.fault() or caught(error)
    again = ours and not final and run.tries < TRIES and _may_be_gone(code, run, state)
    try:
        if not again and not (state is not None and state.told):
            # An entry that an earlier attempt didn't make may be of another run, which goes on.
            entry = ours or run.tries > 1 or catalogue.backup(run.database, run.backup_id) is None
            _tell(services, run, code, message, entry=entry)
            ledger.announce(run.tries)
    finally:
        let_go(services, run.database, run.attempt)
    return nothing.model_copy(update={"go": again, "wait": _pause(code, state)})


def clean_up(services: Services, ended: MachineEnded) -> StepResult:
    """End what an execution left that was stopped by hand, or whose time was over."""
    catalogue = services.catalogue
    error = BackupStoppedError(f"the state machine's execution ended: {ended.status}")
    told = {"Error": type(error).__name__, "Cause": str(error)}
    lease = catalogue.lease(ended.database)
    runs = [ended.attempt(tries) for tries in range(1, TRIES + 1)]
    for run in reversed(runs):
        state = catalogue.ledger(run.database, run.attempt).read()
        if _lives(state) or (lease is not None and lease.holder == run.attempt):
            return abort(services, run, told, final=True)
    entry = catalogue.backup(ended.database, ended.backup_id)
    if lease is None and entry is not None and entry.status == "in_progress":  # between two attempts
        _tell(services, runs[0], error.code, error.message, entry=True)
    return StepResult(run=runs[0].model_dump(mode="json"), go=False)


def caught(error: dict[str, Any] | None) -> tuple[str, str]:
    """(code, message) of what the state machine caught; a step's silence is the snapshot's loss."""
    code, message = machines.caught(error)
    name = (error or {}).get("Error", "")
    if code == FunctionFailedError.code and name in _SILENT:
        return SnapshotLostError.code, f"a holder of the snapshot, or a step, gave no sign any more ({name})"
    return code, message


def _exists(services: Services, run: MachineRun) -> bool:
    """Whether there is a manifest.

    A store that doesn't answer isn't waited for, because the lease is to be free: should there be one after
    all, the verification that it starts puts the catalogue right.
    """
    try:
        return services.store.head(Layout(run.database).manifest(run.backup_id)) is not None
    except StoreUnavailableError:
        return False


def _may_be_gone(code: str, run: MachineRun, state: Progress | None) -> bool:
    """Whether what failed may be gone by the next attempt."""
    if code == SourceUnreachableError.code:  # it was there before: a restart, or a failover
        return run.tries > 1 or (state is not None and state.holder > 0)
    return code in AGAIN


def _pause(code: str, state: Progress | None) -> int:
    """Seconds before another attempt."""
    if code == RunOfAnotherVersionError.code:
        return DEPLOYMENT
    return state.pause if state is not None else PAUSE


def _tell(services: Services, run: MachineRun, code: str, message: str, *, entry: bool) -> None:
    if entry:
        services.catalogue.fail(run.database, run.backup_id, code, message)
    told = {"database": run.database, "backup_id": run.backup_id, "code": code, "message": message}
    services.publisher.publish("Backup Failed", told)


def _lives(state: Progress | None) -> bool:
    return state is not None and state.state in ("open", "released")
