"""The end of a restore on the state machine: the database gets its name, last of all."""

from __future__ import annotations

from typing import Any

from coffre.databases.postgresql.compare import GENERATED_DIFFERS
from coffre.databases.postgresql.connection import Session, identifier, literal
from coffre.databases.postgresql.exchange import Exchange, exchange_names
from coffre.databases.postgresql.notes import only_one
from coffre.databases.postgresql.schema import SchemaArchive
from coffre.databases.postgresql.standing import (
    Standing,
    comment_escaped,
    find,
    is_whole,
    mark_whole,
    without_mark,
)
from coffre.databases.postgresql.toc import read_toc
from coffre.errors import DatabaseMissingError, PlanChangedError
from coffre.ids import moment, utc_now
from coffre.restore.application import ask_application
from coffre.restore.ending import succeed
from coffre.restore.late import archive_of
from coffre.restore.machine import MachineJob
from coffre.restore.refuse import refuse_lost_rows
from coffre.restore.swap import Swap, put_in_place
from coffre.results import EndpointAnswer, Finding, RestoreResult
from coffre.vault.contents import scratch_folder

_TRIGGERS = "SELECT evtname::text FROM pg_event_trigger"


def finish(job: MachineJob, report: dict[str, Any]) -> RestoreResult:
    """Give the database its name, and tell of it; done before, it only tells what is still untold.

    Parameters
    ----------
    report:
        What `coffre.restore.check` found.

    Raises
    ------
    PlanChangedError
        What was to be replaced isn't there any more, or something bears the name by now.
    CoffreError
        The database keeps its working name.
    """
    findings = [Finding.model_validate(one) for one in report.get("findings", [])]
    exceptions = [Finding.model_validate(one) for one in report.get("exceptions", [])]
    with job.maintenance() as server:
        only_one(server, job.run.attempt)
        named = find(server, job.wanted.database)
        if named is None or named.oid != job.run.oid:
            job.goes_on()
            job.ledger.enter("name", batches=0)
            findings += _make_whole(job, server, report)
            findings = _name(job, named) + findings
    endpoints, down = _application(job)
    state, totals, run = job.ledger.read(), job.manifest.totals, job.run
    started = moment(state.started) if state is not None else utc_now()
    result = RestoreResult(
        mode="swap" if run.aside else "new",
        status="application-down" if down else "completed",
        where="machine",
        database=run.database,
        backup_id=run.backup_id,
        root_hash=run.root_hash,
        target_database=job.wanted.database,
        kept_as=run.aside,
        safety_backup=run.safety_backup,
        tables=totals.relations,
        rows=totals.rows,
        bytes=totals.bytes,
        seconds=round((utc_now() - started).total_seconds(), 3),
        digests_equal=not any(finding.code == GENERATED_DIFFERS for finding in exceptions),
        phases={},
        findings=down + findings,
        exceptions=exceptions,
        endpoints=endpoints,
    )
    succeed(job.services, run, result)
    return result


def _make_whole(job: MachineJob, server: Session, report: dict[str, Any]) -> list[Finding]:
    """Take the notes away, and let the event triggers watch: after this nothing of ours may run in it.

    Returns
    -------
    list of Finding
        What isn't in the report, and is kept with it.
    """
    standing = find(server, job.working.database)
    if standing is None or standing.oid != job.run.oid:
        raise DatabaseMissingError(f"{job.working.label} is gone", "Ask for a new plan.")
    escaped = comment_escaped(standing)
    if not is_whole(standing.comment, job.run.attempt):
        more = [finding.model_dump() for finding in escaped]
        job.keep({**report, "findings": [*report.get("findings", []), *more]})
        told = literal(mark_whole(standing.comment, job.run.attempt))
        server.run(f"COMMENT ON DATABASE {identifier(standing.name)} IS {told}")
    with job.session() as session, scratch_folder(job.services.scratch, "finish") as folder:
        notes = job.notes(session)
        if notes.exist():  # a DROP of nothing would meet the event triggers that are there by then
            refuse_lost_rows(job.working, notes)
            notes.drop()
        archive = archive_of(job, session, folder)
        there = {row[0] for row in session.run(_TRIGGERS)}
        if not _triggers(archive, session) & there:
            archive.event_triggers()
    return escaped


def _triggers(archive: SchemaArchive, session: Session) -> set[str]:
    toc = read_toc(archive.path, session.python_encoding)
    return {entry.tag for entry in toc if entry.description == "EVENT TRIGGER"}


def _name(job: MachineJob, named: Standing | None) -> list[Finding]:
    wanted, run, seconds = job.wanted, job.run, job.watch.seconds_left
    if run.aside is not None:
        if named is None or named.oid != run.replaces:
            raise PlanChangedError(f"{wanted.label} isn't the database any more that was to be replaced")
        swap = Swap(named, run.aside, 0, run.registered, ())
        return put_in_place(wanted, swap, job.working.database, seconds=seconds)
    if named is not None:
        raise PlanChangedError(f"{wanted.label} was made by somebody else meanwhile")
    with job.maintenance() as server:
        made = find(server, job.working.database)
    comments = {wanted.database: without_mark(made.comment if made is not None else None)}
    names = Exchange(wanted.database, None, "", (run.oid, job.working.database), comments)
    exchange_names(wanted.maintenance, names, seconds=seconds)
    return []


def _application(job: MachineJob) -> tuple[list[EndpointAnswer], list[Finding]]:
    """What the application says of the database that has its place now; nothing of one that stands beside."""
    run = job.run
    if run.aside is None:
        return [], []
    return ask_application(
        job.services.registry, run.database, job.wanted, run.registered, seconds=job.watch.seconds_left
    )
