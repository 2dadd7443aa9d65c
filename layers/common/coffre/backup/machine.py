"""Where a backup runs, and what the state machine's functions know of their run."""

from __future__ import annotations

import time

from coffre.backup.estimate import UNMEASURED, choose
from coffre.backup.job import Job, Services
from coffre.choice import Choice
from coffre.databases.postgresql.activity import lockable_tables, size_on_disk
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.target import Source
from coffre.databases.registration import Registration
from coffre.errors import CoffreError, FunctionFailedError
from coffre.events.backup import BackupRequest, MachineRun
from coffre.ids import moment, utc_now
from coffre.workers import WORKERS, workers_for

SIZE_SECONDS = 30.0


def may_choose(job: Job, services: Services) -> bool:
    """Whether a backup may run in one function as well as on the state machine."""
    return services.start_machine is not None and job.registration.runs == "auto"


def where_to_run(job: Job, services: Services, *, seconds: float) -> tuple[Choice, int]:
    """Where this backup runs, and why; and how many workers it is worth there.  The source is asked.

    A source that doesn't answer is left to the backup itself, which tells of its failure.
    """
    if not may_choose(job, services):
        runs, machine = job.registration.runs, services.start_machine is not None
        return choose(0, UNMEASURED, seconds, runs=runs, machine=machine), WORKERS
    try:
        with open_session(job.target, seconds=SIZE_SECONDS, application=job.application) as session:
            size, tables = size_on_disk(session), lockable_tables(session)
    except CoffreError as error:
        return Choice("function", f"the source doesn't tell its size: {error.code}"), WORKERS
    choice = choose(size, services.catalogue.rate(job.database) or UNMEASURED, seconds)
    return choice, workers_for(size, tables)


def start(job: Job, services: Services) -> None:
    """Start the state machine.  The same backup started twice is one execution."""
    if services.start_machine is None:
        raise FunctionFailedError("this function knows no state machine", "Deploy the template again.")
    request = job.request
    services.start_machine(
        f"{job.database}-{job.id}",
        {
            "database": job.database,
            "backup_id": job.id,
            "type": request.type,
            "scheduled_time": request.scheduled_time.isoformat(),
            "reason": request.reason,
        },
    )


def machine_job(
    run: MachineRun, registration: Registration, source: Source, services: Services, *, seconds: float
) -> Job:
    """The attempt that a function of the state machine works on.

    Parameters
    ----------
    seconds:
        How long this function may go on; the run's own deadline may be sooner.
    """
    state = services.catalogue.ledger(run.database, run.attempt).read()
    now = utc_now()
    started, left = now, float(services.max_run_seconds)
    if state is not None:
        started, left = moment(state.started), (moment(state.deadline) - now).total_seconds()
    request = BackupRequest(
        type=run.type, scheduled_time=run.scheduled_time, database=run.database, reason=run.reason
    )
    ends = time.monotonic() + min(seconds, left)
    return Job(request, run.database, registration, source, run.backup_id, run.attempt, started, ends)
