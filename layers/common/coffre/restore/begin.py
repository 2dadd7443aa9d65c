"""The beginning of a restore on the state machine: a database under a working name, empty, with its schema.

What was begun and isn't whole is begun again: nothing can be in it yet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from coffre.databases.postgresql.compare import expectations
from coffre.databases.postgresql.connection import Session, identifier
from coffre.databases.postgresql.large_objects import make
from coffre.databases.postgresql.load_path import SEARCH_PATH, path_of
from coffre.databases.postgresql.notes import only_one
from coffre.databases.postgresql.public_schema import shut_public
from coffre.databases.postgresql.schema import SchemaArchive, set_sequences
from coffre.databases.postgresql.standing import find, is_whole
from coffre.databases.postgresql.toc import TocEntry, read_toc
from coffre.databases.postgresql.tools import restore_major
from coffre.errors import DatabaseMissingError, TargetLacksError
from coffre.restore.build import create_database
from coffre.restore.job import mapped, options_of, require_all
from coffre.restore.machine import MachineJob, told
from coffre.restore.opening import OPENED, open_to_owners, owners_rights
from coffre.restore.others import left_to_others
from coffre.restore.plan import unrestorable
from coffre.restore.roles import NeededRoles, create_roles, needed_roles, used_roles
from coffre.results import Finding
from coffre.vault.contents import Contents, read_contents, scratch_folder
from coffre.vault.reader import fetch_file


def begin_database(job: MachineJob) -> tuple[int, bool]:
    """Make the database with its schema and sequences, unless it is there.

    Returns
    -------
    tuple[int, bool]
        Its OID, and whether it lacks nothing any more but its name, if that.

    Raises
    ------
    LockNotGrantedError
        Another function does the same at this moment.
    CoffreError
        What is begun by then is taken away by the next try.
    """
    with job.maintenance() as server, scratch_folder(job.services.scratch, "begin") as folder:
        only_one(server, job.run.attempt)
        standing, named = find(server, job.working.database), find(server, job.wanted.database)
        if standing is None and named is not None and named.oid == job.kept()[0]:
            return named.oid, True  # it has its name; only nobody was told
        if standing is not None and is_whole(standing.comment, job.run.attempt):
            return standing.oid, True
        if standing is not None and _has_schema(job):
            return standing.oid, False
        store, manifest = job.services.store, job.manifest
        contents = read_contents(store, manifest, folder / "sections")
        of_copy = job.run.request.source == "copy"
        require_all(job.services, manifest, job.run.root_hash, folder, of_copy=of_copy)
        schema = mapped(fetch_file(store, manifest.schema_file, folder / "schema"), job.run.request, manifest)
        if standing is not None:
            server.run(f"DROP DATABASE {identifier(job.working.database)} WITH (FORCE)")
        create_database(server, manifest, job.working.database)
        _fill_with_schema(job, contents, schema)
        made = find(server, job.working.database)
        if made is None:
            raise DatabaseMissingError(f"{job.working.label} was dropped by somebody else")
        return made.oid, False


def _has_schema(job: MachineJob) -> bool:
    with job.session() as session:
        return job.notes(session).exist()


def _make_roles(
    job: MachineJob, session: Session, contents: Contents, toc: Sequence[TocEntry], *, superuser: bool
) -> None:
    """Create the roles that are missing.

    Parameters
    ----------
    session:
        As for `coffre.restore.roles.create_roles`.
    toc:
        What of the archive is restored.
    superuser:
        Whether ours is one.
    """
    request = job.run.request
    needed = needed_roles(
        session,
        used_roles(contents, job.manifest, toc, request),
        request.role_map,
        encoding=job.manifest.locale.encoding,
        superuser=superuser,
    )
    if needed.lacking:
        raise TargetLacksError(
            f"the role {job.wanted.user} at {job.wanted.label} lacks: {'; '.join(needed.lacking)}"
        )
    create_roles(session, needed, lambda findings: _keep(job, contents, needed, findings))


def _keep(job: MachineJob, contents: Contents, needed: NeededRoles, findings: list[Finding]) -> None:
    """Keep what is to be told of created roles, and which of them have settings in the database.

    It is kept before they are there, beside what was kept already: whoever tries again finds those that are
    there, and nothing to do about them.  Settings matter where another database's take their place.
    """
    kept = job.kept()[1]
    known = [Finding.model_validate(one) for one in kept.get("findings", [])]
    created = set(kept.get("created", []))
    if job.run.aside is not None and contents.database is not None:
        created |= {role for role, _ in contents.database.settings} & set(needed.created)
    findings = [*dict.fromkeys([*known, *findings, *needed.findings])]
    job.keep({"findings": told(findings), "created": sorted(created)})


def _fill_with_schema(job: MachineJob, contents: Contents, schema: Path) -> None:
    request = job.run.request
    with job.session() as session:
        superuser = bool(session.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
        toc = read_toc(schema, session.python_encoding)
        kept = [] if superuser else left_to_others(session, toc, contents, request, creates=True)
        others = {entry.dump_id for entry in kept}
        restored = [entry for entry in toc if entry.dump_id not in others]
        _make_roles(job, session, contents, restored, superuser=superuser)
        options, deadline, major = options_of(request), job.watch.deadline, restore_major(session.major)
        archive = SchemaArchive(job.services.tools, major, schema, job.working, deadline, options)
        left_out = unrestorable(archive.entries(), superuser=superuser) | others
        archive = archive.without(left_out)
        archive.schemas()
        if request.roles == "keep":
            shut_public(session)
        ordinary = request.roles == "keep" and not superuser
        opened = open_to_owners(session, owners_rights(restored)) if ordinary else []
        archive.before_rows(schemas=False)
        make(session, contents.large_objects, request.role_map, owned=request.roles != "mine")
        set_sequences(session, contents.sequences)
        notes = job.notes(session)
        facts = {OPENED: json.dumps(opened), SEARCH_PATH: path_of(contents.database)}
        notes.create(expectations(contents), facts)
