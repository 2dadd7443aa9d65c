"""What a restore on the state machine looks at when all is built: statistics, numbers, order, exceptions."""

from __future__ import annotations

import json
import time
from collections import Counter

from coffre.databases.postgresql.compare import compare_objects
from coffre.databases.postgresql.complaints import Complaint
from coffre.databases.postgresql.connection import Session, qualified
from coffre.databases.postgresql.exceptions import Exceptions, explain
from coffre.databases.postgresql.notes import Notes, only_one
from coffre.databases.postgresql.recheck import recheck_text_indexes
from coffre.databases.postgresql.set_aside import put_back_noted
from coffre.databases.postgresql.statistics import next_tables, without_statistics
from coffre.databases.postgresql.subscriptions import detach_subscriptions
from coffre.restore.belongings import give_belongings
from coffre.restore.critical import critical_tables, missing_tables
from coffre.restore.late import archive_of
from coffre.restore.machine import MachineJob, told
from coffre.restore.refuse import refuse_differences, refuse_exceptions
from coffre.results import Finding, RestoreStep
from coffre.vault.contents import read_contents, scratch_folder

SHARE = 0.5
"""Of the function's time at most is for statistics and the order of indexes; the next call goes on."""


def check(job: MachineJob) -> RestoreStep:
    """Gather statistics, compare what can be counted, and say what the restored database is without.

    Raises
    ------
    RestoreExceptionsError
        If something couldn't be built and the plan doesn't accept that.
    RestoreMismatchError
        If objects are missing or indexes out of order.
    """
    run = job.run.short()
    job.ledger.enter("checks", batches=0)
    until = time.monotonic() + SHARE * job.watch.seconds_left
    with job.session() as session:
        only_one(session, job.run.attempt)
        notes = job.notes(session)
        exceptions = _exceptions(job, session, notes)
        found = exceptions.findings
        refuse_exceptions(job.run.request, job.run.backup_id, found)
        if not _analyzed(session, notes, until):
            return RestoreStep(run=run, again=True)
        differing = compare_objects(session, job.manifest, exceptions.missing, without=notes.schema)
        refuse_differences(job.working, differing)
        tables = critical_tables(job.services.registry, job.run.database)
        findings = missing_tables(session, tables) + without_statistics(session)
        findings += detach_subscriptions(session)
        out_of_order, unchecked = recheck_text_indexes(session, until=until)
        refuse_differences(job.working, out_of_order)
        findings += unchecked + _belongings(job, session)
        report = {
            "findings": told([*dict.fromkeys(findings)]),
            "exceptions": told(found),
        }
    return RestoreStep(run=run, report=report)


def _exceptions(job: MachineJob, session: Session, notes: Notes) -> Exceptions:
    """What the database is restored without; explained once, because that adds constraints as NOT VALID."""
    known = notes.fact("exceptions")
    if known is not None:
        content = json.loads(known)
        findings = [Finding.model_validate(one) for one in content["findings"]]
        return Exceptions(findings, Counter(content["missing"]))
    findings = put_back_noted(session, notes) + [
        Finding.model_validate(one) for one in json.loads(notes.fact("generated") or "[]")
    ]
    exceptions = Exceptions(findings)
    complaints = {number: text for number, text in notes.built().items() if text}
    if complaints:
        with scratch_folder(job.services.scratch, "check") as folder:
            archive = archive_of(job, session, folder)
            named = [
                Complaint(one, complaints[one.dump_id]) for one in archive.late() if one.dump_id in complaints
            ]
            more = explain(archive, named, lambda _: job.session(), session)
        exceptions = Exceptions(findings + more.findings, more.missing)
    told = {"findings": [one.model_dump() for one in exceptions.findings], "missing": exceptions.missing}
    notes.note("exceptions", json.dumps(told))
    return exceptions


def _analyzed(session: Session, notes: Notes, until: float) -> bool:
    """Gather the statistics of one table after the other; False if there is no time for all."""
    after = int(notes.fact("analyzed") or 0)
    while tables := next_tables(session, after, notes.schema):
        for schema, name, oid in tables:
            if time.monotonic() > until:
                notes.note("analyzed", str(after))
                return False
            session.run(f"ANALYZE {qualified(schema, name)}")
            after = oid
        notes.note("analyzed", str(after))
    return True


def _belongings(job: MachineJob, session: Session) -> list[Finding]:
    """Give the database what belongs to it; what isn't given, and what is to be told of its roles."""
    kept, findings = job.kept()[1], []
    created = kept.get("created", [])
    if job.run.aside is None or created:
        with scratch_folder(job.services.scratch, "settings") as folder:
            record = read_contents(job.services.store, job.manifest, folder / "sections").database
        findings = give_belongings(session, record, job.run.request, job.working.database, created)
    return findings + [Finding.model_validate(one) for one in kept.get("findings", [])]
