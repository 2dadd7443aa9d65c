"""A restore on the state machine: how it starts, goes on after a failure, and is known to its functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from coffre.catalogue.ledger import Ledger, Progress
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.notes import Notes
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    DeadlineExceededError,
    ManifestInvalidError,
    NothingToResumeError,
    PlanChangedError,
    RestoreOverError,
    describe,
)
from coffre.events.restore_machine import RestoreRun, ResumeRequest
from coffre.ids import moment, stamp, utc_now
from coffre.restore.ending import fail
from coffre.restore.job import Restore, Services
from coffre.restore.leftovers import working_name
from coffre.restore.plan import Situation
from coffre.results import Finding, RestoreResult, listed
from coffre.timing import Stopwatch
from coffre.vault.manifest import Manifest

SHOWN_AS = "coffre/restore"

VERSION = 2
"""Of what the functions of a restore on the state machine leave for each other: records of the ledger, notes
in the database that is filled, and the numbers of runs, relations and waves in both.  It counts up with each
change after which functions from before it, or from after it, would read them wrongly
(``tests/contract/test_versions.py``)."""

_BEGIN_ANEW = "Ask for a new plan: it restores everything again. Drop the database that this restore left."

SHOWN = 1100
"""Of a finding, in bytes of JSON: twice a hundred fit into the 256 KB that a state machine hands on."""

SHOWN_BESIDE = 400
"""Of the object that it is about, and of its advice."""


@dataclass(frozen=True)
class MachineJob:
    """A restore on the state machine, as one of its functions sees it.

    Attributes
    ----------
    wanted, working:
        The database as it was asked for, and the one that is filled.
    seconds:
        Of this function; the restore's own deadline may be sooner.
    """

    run: RestoreRun
    services: Services
    manifest: Manifest
    wanted: Target
    working: Target
    ledger: Ledger
    watch: Stopwatch

    def session(self) -> Session:
        """A session with the database that is filled."""
        return open_session(self.working, seconds=self.watch.seconds_left, application=SHOWN_AS)

    def maintenance(self) -> Session:
        """A session with the server's maintenance database."""
        return open_session(self.wanted.maintenance, seconds=self.watch.seconds_left, application=SHOWN_AS)

    def notes(self, session: Session) -> Notes:
        """What the restore noted, through a session with the database that it fills."""
        return Notes(session, self.run.attempt)

    def keep(self, report: Mapping[str, object]) -> None:
        """Keep what is to be told when the database has its name, and which one that is."""
        self.ledger.keep(json.dumps({"oid": self.run.oid, "report": report}))

    def kept(self) -> tuple[int, dict[str, Any]]:
        """The OID and the report that were kept; 0 and nothing before."""
        state = self.ledger.read()
        known = json.loads(state.result) if state is not None and state.result else {}
        return int(known.get("oid", 0)), known.get("report", {})

    def goes_on(self) -> Progress:
        """How far it is.

        Raises
        ------
        RestoreOverError, DeadlineExceededError, RunOfAnotherVersionError
            If it has ended, its time is over, or another version of Coffre began it.
        """
        state, what = self.ledger.read(), f"the restore {self.run.run_id} of {self.run.database}"
        if state is None or (state.state, state.tries) != ("open", self.run.tries):
            raise RestoreOverError(f"{what} isn't running any more")
        state.require_version(VERSION, what, _BEGIN_ANEW)
        if stamp(utc_now()) > state.deadline:
            raise DeadlineExceededError(f"{what} didn't end in its time")
        return state


def told(findings: list[Finding]) -> list[dict[str, Any]]:
    """As many findings as the state machine hands on, each as long as it may be for that."""
    return [_shown(found.model_dump()) for found in listed(findings)]


def _shown(found: dict[str, Any]) -> dict[str, Any]:
    """A finding whose texts are cut if need be: what isn't ASCII takes up to six bytes a character."""
    beside = {name: _cut(found[name], SHOWN_BESIDE) for name in ("object", "advice")}
    room = SHOWN - len(json.dumps({**found, **beside, "message": ""}))
    return {**found, **beside, "message": _cut(found["message"], room)}


def _cut(text: str, most: int) -> str:
    while text and len(json.dumps(text)) - 2 > most:
        text = text[: len(text) * 9 // 10]
    return text


def machine_job(run: RestoreRun, wanted: Target, services: Services, *, seconds: float) -> MachineJob:
    """The restore that a function of the state machine works on.

    Raises
    ------
    RestoreOverError
        If it has ended.
    ManifestInvalidError, PlanChangedError
        If the backup or the target isn't the one that was planned.
    SealKeyUnavailableError, SealBrokenError, KeyServiceUnavailableError
        If the backup is sealed, and can't be opened.
    """
    require_target(run, wanted)
    ledger = services.catalogue.ledger(run.database, run.attempt)
    manifest, digest, seal = services.keys.load(services.store, run.database, run.backup_id)
    if digest != run.root_hash:
        raise ManifestInvalidError(
            f"{run.backup_id} isn't the backup that was planned: its root hash is {digest}"
        )
    working = replace(wanted, database=working_name(wanted.database, run.attempt))
    state = ledger.read()
    left = (moment(state.deadline) - utc_now()).total_seconds() if state is not None else seconds
    watch = Stopwatch("the restore", min(seconds, left))
    services = replace(services, store=services.store.with_seal(seal))
    return MachineJob(run, services, manifest, wanted, working, ledger, watch)


def start(restore: Restore, situation: Situation, audited: Mapping[str, str]) -> RestoreResult:
    """Start the state machine for a plan that was confirmed; it is on record before."""
    services, manifest, swap = restore.services, restore.manifest, situation.swap
    request = restore.request.model_copy(update={"backup": manifest.id, "action": "run"})
    run = RestoreRun(
        database=request.database,
        backup_id=manifest.id,
        root_hash=restore.root_hash,
        request=request,
        target=restore.wanted.label,
        target_database=restore.wanted.database,
        replaces=swap.standing.oid if swap else None,
        aside=swap.aside if swap else None,
        registered=swap.registered if swap else None,
    )
    given = run.model_dump_json(exclude_defaults=True)
    deadline = utc_now() + timedelta(seconds=services.max_run_seconds)
    catalogue = services.catalogue
    catalogue.start_run(run.database, "restore", run.run_id, deadline, run.backup_id)
    catalogue.audit(run.database, "restore", run.backup_id, {**audited, "where": "machine"})
    catalogue.ledger(run.database, run.attempt).open(run.backup_id, deadline, version=VERSION, given=given)
    _begin(services, run)
    totals = manifest.totals
    return _started(run, restore.wanted, tables=totals.relations, rows=totals.rows, size=totals.bytes)


def resume(run: RestoreRun, wanted: Target, services: Services) -> RestoreResult:
    """Let a restore go on that failed or was stopped; what is done already isn't done again.

    Parameters
    ----------
    run:
        As `failed_run` found it.

    Raises
    ------
    NothingToResumeError
        It goes on already, or has ended well.
    PlanChangedError
        The target is another one than was planned.
    """
    require_target(run, wanted)
    catalogue = services.catalogue
    deadline = utc_now() + timedelta(seconds=services.max_run_seconds)
    ledger = catalogue.ledger(run.database, run.attempt)
    if not ledger.open_again(deadline):
        raise NothingToResumeError(f"the restore {run.run_id} of {run.database} has not failed")
    catalogue.start_run(run.database, "restore", run.run_id, deadline, run.backup_id)
    catalogue.audit(run.database, "resume", run.backup_id, {"target": wanted.label})
    state = ledger.read()
    run = run.model_copy(update={"tries": state.tries if state is not None else 1})
    _begin(services, run)
    return _started(run, wanted)


def failed_run(request: ResumeRequest, services: Services) -> RestoreRun:
    """The restore that is to go on, as the ledger keeps it.

    Raises
    ------
    NothingToResumeError
        There is none.
    RunOfAnotherVersionError
        Another version of Coffre began it.
    """
    state = services.catalogue.ledger(request.database, request.token[:12]).read()
    if state is not None:
        state.require_version(VERSION, f"this restore of {request.database}", _BEGIN_ANEW)
    run = RestoreRun.model_validate_json(state.given) if state is not None and state.given else None
    if run is None or run.request.token != request.token:
        raise NothingToResumeError(f"no restore of {request.database} on the state machine has this token")
    if request.target_secret is None:
        return run
    changed = run.request.model_copy(update={"target_secret": request.target_secret})
    return run.model_copy(update={"request": changed})


def require_target(run: RestoreRun, wanted: Target) -> None:
    """A secret that was changed meanwhile must not make a restore begin somewhere else.

    Raises
    ------
    PlanChangedError
    """
    if wanted.label != run.target:
        raise PlanChangedError(f"the restore was planned for {run.target}, the secret names {wanted.label}")


def _begin(services: Services, run: RestoreRun) -> None:
    """Start an execution; what can't be started has failed."""
    try:
        machine = services.machine()
        content = {"run": run.short()}
        machine(f"{run.database}-{run.attempt}-{run.tries}", content)
    except BaseException as error:
        fault = describe(error)
        fail(services, run, fault["code"], fault["message"])
        raise


def _started(
    run: RestoreRun, wanted: Target, *, tables: int = 0, rows: int = 0, size: int = 0
) -> RestoreResult:
    return RestoreResult(
        mode="swap" if run.aside else "new",
        status="started",
        where="machine",
        database=run.database,
        backup_id=run.backup_id,
        root_hash=run.root_hash,
        target_database=wanted.database,
        kept_as=run.aside,
        tables=tables,
        rows=rows,
        bytes=size,
        seconds=0.0,
        digests_equal=False,
        phases={},
        findings=[],
    )
