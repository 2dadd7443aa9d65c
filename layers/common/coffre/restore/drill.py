"""A drill: a real restore to a scratch server, timed phase by phase, and taken away again.

What a drill takes is what a restore will take, so it counts as one in the history from which estimates and
objectives are made.
"""

from __future__ import annotations

from dataclasses import replace

from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.urls import parse_secret
from coffre.databases.registration import Registration
from coffre.errors import CoffreError, NoScratchServerError, describe
from coffre.events.restore import DrillRequest, RestoreRequest
from coffre.ids import new_attempt, stamp, utc_now
from coffre.observability import log
from coffre.restore import run as restores
from coffre.restore.build import drop_database
from coffre.restore.job import Services
from coffre.results import DrillResult, Finding

_NAMED_BY_CALLER = "-"
"""Stands for the secret's name in the plan: who calls has read the scratch server's URL already."""

ENDING_SECONDS = 20.0
"""Kept back of the function's time to drop the drill's database."""


def run(database: str, request: DrillRequest, services: Services, *, seconds: float) -> DrillResult:
    """Restore a backup into a new database of a scratch server, compare its content, drop it again.

    Parameters
    ----------
    seconds:
        How long this may take.

    Raises
    ------
    NoScratchServerError
        If neither the request nor the registration names one.
    CoffreError
        If the backup could not be restored there, or differs; the event `Drill Failed` says so, too.
    """
    registration, started = services.registry.get(database), utc_now()
    scratch = _scratch_server(request, registration, services)
    target = replace(scratch, database=f"coffre_drill_{started:%Y%m%dt%H%M%S}_{new_attempt()}")
    asked = RestoreRequest(
        action="plan",
        database=database,
        backup=request.backup,
        target_secret=_NAMED_BY_CALLER,
        roles=request.roles,
        exceptions=request.exceptions or registration.drill_exceptions,
        runs="function",
    )
    time_left = seconds - ENDING_SECONDS
    try:
        planned = restores.plan(asked, target, services, seconds=time_left)
        confirmed = asked.model_copy(update={"action": "run", "token": planned.token})
        restored = restores.run(confirmed, target, services, seconds=time_left, drill=True)
    except CoffreError as error:
        fault = {
            "database": database,
            "backup_id": request.backup,
            "exercise": request.exercise,
            "server": f"{target.host}:{target.port}",
            "started": stamp(started),
            "completed": stamp(utc_now()),
            **describe(error),
        }
        services.publisher.publish_failure("Drill Failed", fault, error)
        raise
    finally:
        left = [] if request.keep else _drop(target)
    result = DrillResult(
        database=database,
        backup_id=restored.backup_id,
        exercise=request.exercise,
        root_hash=restored.root_hash,
        started=stamp(started),
        completed=stamp(utc_now()),
        server=f"{target.host}:{target.port}",
        kept_as=target.database if request.keep or left else None,
        tables=restored.tables,
        rows=restored.rows,
        bytes=restored.bytes,
        seconds=restored.seconds,
        phases=restored.phases,
        digests_equal=restored.digests_equal,
        findings=[*left, *restored.findings],
        exceptions=restored.exceptions,
    )
    services.publisher.publish("Drill Completed", result.answer())
    return result


def _scratch_server(request: DrillRequest, registration: Registration, services: Services) -> Target:
    """The server; the database that its URL names plays no part."""
    secret = request.target_secret or registration.scratch
    if secret is None:
        raise NoScratchServerError(f"no scratch server is named for drills of {request.database}")
    return parse_secret(services.registry.secret(secret))


def _drop(target: Target) -> list[Finding]:
    """Remove the drill's own database; one that can't be removed is told, and named in the log."""
    try:
        drop_database(target.maintenance, target.database, seconds=ENDING_SECONDS)
    except CoffreError as error:
        log("a drill's database could not be dropped", database=target.database, reason=error.message)
        message = f"the drill's database {target.database} could not be dropped: {error.message}"
        advice = "It takes up a whole copy's disk on the scratch server: drop it."
        return [
            Finding(level="warn", code="drill-left", object=target.database, message=message, advice=advice)
        ]
    return []
