"""One restore into a new database: plan, then the confirmed plan and nothing else.

The database is built under a name of its own and gets its final name last, so a restore that was interrupted
never looks finished.  A target that exists already, and is empty, is filled where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from coffre.catalogue.index import Catalogue
from coffre.catalogue.meter import Meter
from coffre.databases.postgresql.compare import GENERATED_DIFFERS, compare_objects
from coffre.databases.postgresql.connection import Session, identifier, literal, open_session
from coffre.databases.postgresql.dump import list_entries
from coffre.databases.postgresql.exceptions import Exceptions, explain
from coffre.databases.postgresql.rebuild import WORKERS, Rebuild
from coffre.databases.postgresql.roles import create_role, database_statements, grant_memberships
from coffre.databases.postgresql.schema import SchemaArchive, restore_large_objects
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools, restore_major
from coffre.errors import (
    CoffreError,
    PlanChangedError,
    RestoreExceptionsError,
    RestoreMismatchError,
    describe,
)
from coffre.events import RestoreRequest
from coffre.ids import new_attempt, utc_now
from coffre.notify.publisher import Publisher
from coffre.restore.plan import MAINTENANCE, Situation, inspect_target, make_plan
from coffre.results import Finding, RestorePlan, RestoreResult, listed
from coffre.timing import Stopwatch
from coffre.vault.contents import Contents, largest_first, read_contents, scratch_folder
from coffre.vault.manifest import Manifest
from coffre.vault.parts import Role
from coffre.vault.reader import fetch_file, load_manifest
from coffre.vault.store import ObjectStore
from coffre.workers import Message, WorkerPool


@dataclass(frozen=True)
class Services:
    """What a restore works with; see `coffre.backup.run.Services`."""

    store: ObjectStore
    catalogue: Catalogue
    publisher: Publisher
    tools: Tools
    scratch: Path
    max_run_seconds: int
    start_workers: Callable[[Sequence[Message], Callable[[], None]], WorkerPool]


@dataclass(frozen=True)
class _Restore:
    """A restore under way.

    Attributes
    ----------
    wanted:
        The target as it was asked for.
    """

    services: Services
    request: RestoreRequest
    wanted: Target
    folder: Path
    watch: Stopwatch
    manifest: Manifest
    root_hash: str
    contents: Contents
    schema: Path
    meter: Meter


def plan(request: RestoreRequest, target: Target, services: Services, *, seconds: float) -> RestorePlan:
    """What the restore would do; nothing is changed.

    Raises
    ------
    CoffreError
        What stands in its way.
    """
    with _opened(request, target, services, seconds) as restore:
        return _plan(restore)[0]


def run(request: RestoreRequest, target: Target, services: Services, *, seconds: float) -> RestoreResult:
    """Run the plan that the request's token confirms.

    Raises
    ------
    PlanChangedError
        If the plan of now isn't the confirmed one; nothing was changed.
    RestoreExceptionsError
        If something can't be restored and the plan doesn't accept that; all of it is named.
    RestoreMismatchError
        If what was restored differs; the new database is left under its working name.
    CoffreError
        After other errors the database that was begun is dropped again.
    """
    started = utc_now()
    with _opened(request, target, services, seconds) as restore:
        shown, situation = _plan(restore)
        if shown.token != request.token:
            raise PlanChangedError(f"the plan for {target.label} isn't the one that was confirmed")
        run_id = _run_id(request, restore.manifest)
        services.catalogue.start_run(
            request.database, "restore", run_id, started + timedelta(seconds=seconds)
        )
        services.catalogue.audit(request.database, "restore", restore.manifest.id, {"target": target.label})
        try:
            findings, exceptions = _build(restore, situation)
        except BaseException as error:
            fault = {"database": request.database, "backup_id": restore.manifest.id, **describe(error)}
            services.publisher.publish("Restore Failed", fault)
            raise
        finally:
            services.catalogue.end_run(request.database, run_id)
        result = RestoreResult(
            database=request.database,
            backup_id=restore.manifest.id,
            target_database=target.database,
            tables=restore.manifest.totals.relations,
            rows=restore.manifest.totals.rows,
            bytes=restore.manifest.totals.bytes,
            seconds=round((utc_now() - started).total_seconds(), 3),
            digests_equal=not any(finding.code == GENERATED_DIFFERS for finding in exceptions),
            phases=restore.watch.phases,
            findings=findings + shown.findings,
            exceptions=listed(exceptions),
        )
        services.publisher.publish("Restore Completed", result.answer())
        return result


@contextmanager
def _opened(
    request: RestoreRequest, target: Target, services: Services, seconds: float
) -> Iterator[_Restore]:
    watch = Stopwatch("the restore", min(seconds, services.max_run_seconds))
    manifest, digest = load_manifest(services.store, request.database, request.backup)
    with scratch_folder(services.scratch, "restore") as folder:
        contents = read_contents(services.store, manifest, folder / "sections")
        schema = fetch_file(services.store, manifest.schema_file, folder / "schema")
        tell = partial(services.catalogue.run_progress, request.database, _run_id(request, manifest))
        meter = Meter(tell, manifest.totals.bytes)
        yield _Restore(services, request, target, folder, watch, manifest, digest, contents, schema, meter)


def _run_id(request: RestoreRequest, manifest: Manifest) -> str:
    """The run's name in the catalogue; a plan is confirmed by its token, which names the run as well."""
    return f"{manifest.id}-{(request.token or 'plan')[:12]}"


def _plan(restore: _Restore) -> tuple[RestorePlan, Situation]:
    # The archive is listed by the newest tools: they read every older archive.
    entries = list_entries(restore.services.tools, 18, restore.schema, deadline=restore.watch.deadline)
    roles = restore.request.roles
    situation = inspect_target(restore.wanted, restore.manifest, restore.contents, entries, roles=roles)
    exceptions = restore.request.exceptions
    plan = make_plan(
        restore.manifest, restore.root_hash, restore.wanted, situation, roles=roles, exceptions=exceptions
    )
    return plan, situation


def _build(restore: _Restore, situation: Situation) -> tuple[list[Finding], list[Finding]]:
    """Create, fill, compare, and give the final name; what was not like at the source, and the exceptions."""
    if not situation.creates:
        return _fill(restore, situation, restore.wanted)
    working = replace(restore.wanted, database=_working_name(restore.wanted.database))
    maintenance = replace(restore.wanted, database=MAINTENANCE)
    with open_session(
        maintenance, seconds=restore.watch.seconds_left, application="coffre/restore"
    ) as session:
        _create_database(session, restore.manifest, working.database)
    try:
        found = _fill(restore, situation, working)
        with open_session(maintenance, seconds=restore.watch.seconds_left) as session:
            names = f"{identifier(working.database)} RENAME TO {identifier(restore.wanted.database)}"
            session.run(f"ALTER DATABASE {names}")
    except RestoreMismatchError:
        raise
    except BaseException:
        _drop(maintenance, working.database)
        raise
    return found


def _working_name(name: str) -> str:
    """A name that shows that the restore isn't done; PostgreSQL's names have at most 63 bytes."""
    start = name.encode()[:40].decode("utf-8", "ignore")
    return f"{start}_restoring_{new_attempt()}"


def _create_database(session: Session, manifest: Manifest, name: str) -> None:
    """Create the database with the source's encoding and, where the server has it, its collation."""
    locale = manifest.locale
    base = f"CREATE DATABASE {identifier(name)} TEMPLATE template0 ENCODING {literal(locale.encoding)}"
    provider = ""
    if locale.provider == "i" and locale.locale is not None:
        provider = f" LOCALE_PROVIDER icu ICU_LOCALE {literal(locale.locale)}"
    elif locale.provider == "b" and locale.locale is not None and session.major >= 17:
        provider = f" LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(locale.locale)}"
    session.run(f"{base}{provider} LC_COLLATE {literal(locale.collate)} LC_CTYPE {literal(locale.ctype)}")


def _drop(maintenance: Target, name: str) -> None:
    """Remove the database that this restore created and did not finish."""
    try:
        with open_session(maintenance, seconds=60) as session:
            session.run(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")
    except CoffreError:
        # The first error is the one to report; the working name shows what is left.
        return


def _fill(restore: _Restore, situation: Situation, target: Target) -> tuple[list[Finding], list[Finding]]:
    services, watch = restore.services, restore.watch
    major = restore_major(situation.major)
    options = (
        "--no-tablespaces",
        *(("--no-owner", "--no-privileges") if restore.request.roles == "mine" else ()),
    )
    left_out = situation.left_out
    archive = SchemaArchive(services.tools, major, restore.schema, target, watch.deadline, options, left_out)
    reading = {"bucket": services.store.bucket}
    start = services.start_workers
    rebuild = Rebuild(target, restore.manifest, restore.contents, watch, start, reading, as_owner=False)
    with watch.phase("roles"), rebuild.session() as session:
        _create_roles(session, situation)
    with watch.phase("schema"):
        archive.before_rows()
    with watch.phase("rows"):
        told = restore.meter.add
        exceptions = rebuild.load(
            largest_first(restore.folder / "sections"), lambda rows, size: told(rows=rows, done=size)
        )
    with watch.phase("digests"):
        # Before triggers and policies exist: nothing changes rows after this, and nothing hides them yet.
        differences = rebuild.compare(situation.major)[0]
        exceptions += [finding for finding in differences if finding.code == GENERATED_DIFFERS]
        _raise_differences([f for f in differences if f.code != GENERATED_DIFFERS], target)
    with watch.phase("large_objects"):
        _restore_large_objects(restore, major, target, options)
    with watch.phase("indexes"):
        missing = _after_rows(rebuild, archive)
        exceptions += missing.findings
        _raise_exceptions(restore, exceptions)
    with watch.phase("analyze"), rebuild.session() as session:
        session.run("ANALYZE")
        _raise_differences(compare_objects(session, restore.manifest, missing.missing), target)
        findings = _settings(restore, session, target)
    archive.event_triggers()
    return findings, exceptions


def _after_rows(rebuild: Rebuild, archive: SchemaArchive) -> Exceptions:
    """Indexes, constraints and all that follows; what can't be restored is named."""
    complaints = archive.after_rows(WORKERS)
    if not complaints:
        return Exceptions()
    with rebuild.session() as session:
        return explain(archive, complaints, rebuild.open_as, session)


def _raise_exceptions(restore: _Restore, exceptions: Sequence[Finding]) -> None:
    """Exceptions end the restore, unless the confirmed plan accepts them."""
    if exceptions and restore.request.exceptions == "refuse":
        what = "; ".join(finding.message for finding in exceptions[:20])
        raise RestoreExceptionsError(f"{restore.manifest.id} can't be restored whole: {what}")


def _restore_large_objects(restore: _Restore, major: int, target: Target, options: tuple[str, ...]) -> None:
    file = restore.manifest.file("large_objects")
    if file is not None:
        path = fetch_file(restore.services.store, file, restore.folder / "large_objects")
        tools, deadline = restore.services.tools, restore.watch.deadline
        restore_large_objects(tools, major, path, target, deadline=deadline, options=options)


def _create_roles(session: Session, situation: Situation) -> None:
    for role in situation.create_roles:
        session.run(create_role(role if situation.superuser else _ordinary(role)))
    names = {role.name for role in situation.create_roles}
    for role in situation.create_roles:
        groups = replace(role, member_of=tuple(group for group in role.member_of if group in names))
        for grant in grant_memberships(groups):
            session.run(grant)
    me = identifier(str(session.value("SELECT current_user")))
    inherit = " WITH INHERIT TRUE, SET TRUE" if session.major >= 16 else ""
    for name in situation.join_roles:
        session.run(f"GRANT {identifier(name)} TO {me}{inherit}")


def _ordinary(role: Role) -> Role:
    """The role without the attributes that only a superuser may give."""
    reserved = {"SUPERUSER", "REPLICATION", "BYPASSRLS", "CREATEROLE", "CREATEDB"}
    reserved |= {f"NO{name}" for name in reserved}
    return replace(role, attributes=tuple(name for name in role.attributes if name not in reserved))


def _raise_differences(findings: Sequence[Finding], target: Target) -> None:
    if findings:
        what = "; ".join(finding.message for finding in findings[:20])
        raise RestoreMismatchError(f"{target.label} differs from the backup: {what}")


def _settings(restore: _Restore, session: Session, target: Target) -> list[Finding]:
    """Apply what belongs to the database itself; what this role may not set is reported."""
    findings = []
    record = restore.contents.database
    for statement in database_statements(record, target.database) if record is not None else []:
        try:
            session.run(statement)
        except CoffreError as error:
            findings.append(
                Finding(level="warn", code="setting-not-restored", object=statement, message=error.message)
            )
    return findings
