"""The schema archive of a restore on the state machine, and what of it follows the rows."""

from __future__ import annotations

from pathlib import Path

from coffre.databases.postgresql.adapting import adapted
from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.schema import SchemaArchive, restore_large_objects
from coffre.databases.postgresql.toc import read_toc
from coffre.databases.postgresql.tools import restore_major
from coffre.restore.job import mapped, options_of
from coffre.restore.machine import MachineJob
from coffre.restore.others import left_after_rows
from coffre.restore.plan import unrestorable
from coffre.restore.waves import Wave, plan_waves
from coffre.vault.contents import scratch_folder
from coffre.vault.reader import fetch_file

_UNLINK = "SELECT lo_unlink(oid) FROM (SELECT oid FROM pg_largeobject_metadata LIMIT 1000) AS found"
"""A thousand at a time: each takes a lock until its transaction ends."""


def archive_of(job: MachineJob, session: Session, folder: Path) -> SchemaArchive:
    """The archive, fetched into ``folder``."""
    path = fetch_file(job.services.store, job.manifest.schema_file, folder / "schema")
    superuser = bool(session.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
    archive = SchemaArchive(
        job.services.tools,
        restore_major(session.major),
        adapted(mapped(path, job.run.request, job.manifest), major=session.major, superuser=superuser),
        job.working,
        job.watch.deadline,
        options_of(job.run.request),
    )
    if superuser:
        return archive
    kept = left_after_rows(session, read_toc(archive.path, session.python_encoding))
    left_out = unrestorable(archive.entries(), superuser=False)
    return archive.without(left_out | {entry.dump_id for entry in kept})


def waves_of(archive: SchemaArchive) -> list[Wave]:
    """What follows the rows; the same for every function that looks."""
    return plan_waves(archive.late(), {entry.dump_id: entry.needs for entry in read_toc(archive.path)})


def restore_objects(job: MachineJob, session: Session) -> None:
    """Restore the large objects of an older backup, once; what a killed try left of them goes first.

    One function does it: the archive that such a backup has of them can only be restored whole.
    """
    file, notes = job.manifest.file("large_objects"), job.notes(session)
    if file is None or notes.fact("large_objects") is not None:
        return
    job.ledger.enter("large objects", batches=0)
    while session.run(_UNLINK):
        job.watch.check()
    with scratch_folder(job.services.scratch, "objects") as folder:
        path = fetch_file(job.services.store, file, folder / "large_objects")
        restore_large_objects(
            job.services.tools,
            restore_major(session.major),
            mapped(path, job.run.request, job.manifest),
            job.working,
            deadline=job.watch.deadline,
            options=options_of(job.run.request),
        )
    notes.note("large_objects", "done")
