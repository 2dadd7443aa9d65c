"""One restore: plan, then the confirmed plan and nothing else.

The database is built under a name of its own and gets its final name last, so a restore that was interrupted
never looks finished.  A target that exists already, and is empty, is filled where it is; one that a restored
database is to replace keeps all its content and gets another name (`coffre.restore.swap`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from coffre.catalogue.entries import RestoreEntry
from coffre.catalogue.index import Catalogue
from coffre.catalogue.meter import Meter
from coffre.databases.postgresql.compare import GENERATED_DIFFERS, compare_objects
from coffre.databases.postgresql.connection import Session, identifier, literal, open_session
from coffre.databases.postgresql.dump import list_entries
from coffre.databases.postgresql.exceptions import Exceptions, explain
from coffre.databases.postgresql.rebuild import WORKERS, Rebuild
from coffre.databases.postgresql.role_map import map_roles
from coffre.databases.postgresql.roles import create_role, database_statements, grant_memberships
from coffre.databases.postgresql.schema import SchemaArchive, restore_large_objects
from coffre.databases.postgresql.standing import MAINTENANCE
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools, restore_major
from coffre.databases.registry import Registry
from coffre.errors import (
    CoffreError,
    RestoreExceptionsError,
    RestoreMismatchError,
    describe,
)
from coffre.events import RestoreRequest
from coffre.ids import new_attempt, utc_now
from coffre.notify.publisher import Publisher
from coffre.restore.critical import critical_tables, missing_tables
from coffre.restore.estimate import estimate
from coffre.restore.history import remember
from coffre.restore.plan import Situation, bound_to, chosen_backup, inspect_target, make_plan
from coffre.restore.swap import inspect_swap, put_in_place, safety_backup
from coffre.restore.token import new_token, plan_digest, token_time
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
    """What a restore works with; see `coffre.backup.run.Services`.

    Attributes
    ----------
    take_backup:
        Calls the backup function and waits: (event, seconds to wait) -> its answer.
    """

    store: ObjectStore
    catalogue: Catalogue
    publisher: Publisher
    registry: Registry
    tools: Tools
    scratch: Path
    max_run_seconds: int
    start_workers: Callable[[Sequence[Message], Callable[[], None]], WorkerPool]
    take_backup: Callable[[dict[str, object], float], dict[str, object]]


@dataclass
class _Outcome:
    """What a restore did so far, for its result and for the history."""

    safety_backup: str | None = None
    findings: list[Finding] = field(default_factory=list)


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
    token = new_token(utc_now())
    with _opened(request, target, services, seconds) as restore:
        situation = _inspect(restore, token)
        expires = services.catalogue.offer_plan(request.database, token, _digest(restore, situation))
        return _shown(restore, situation, token).model_copy(update={"expires": expires})


def run(request: RestoreRequest, target: Target, services: Services, *, seconds: float) -> RestoreResult:
    """Run the plan that the request's token confirms.

    Raises
    ------
    PlanChangedError, PlanUnknownError, PlanUsedError, PlanExpiredError
        If the plan of now isn't one that was made, shown and is still to be confirmed; nothing was changed.
    RestoreExceptionsError
        If something can't be restored and the plan doesn't accept that; all of it is named.
    RestoreMismatchError
        If what was restored differs; the new database is left under its working name.
    CoffreError
        After other errors the database that was begun is dropped again; one that was to be replaced still
        bears its name.
    """
    started, token = utc_now(), str(request.token)
    with _opened(request, target, services, seconds) as restore:
        situation = _inspect(restore, token)
        shown = _shown(restore, situation, token)
        services.catalogue.confirm_plan(request.database, token, _digest(restore, situation))
        run_id = _run_id(request, restore.manifest)
        services.catalogue.start_run(
            request.database, "restore", run_id, started + timedelta(seconds=seconds), restore.manifest.id
        )
        services.catalogue.audit(
            request.database, "restore", restore.manifest.id, _audited(restore, situation)
        )
        outcome = _Outcome()
        try:
            _protect(restore, situation, outcome)
            findings, exceptions = _build(restore, situation)
            outcome.findings += findings
        except BaseException as error:
            _keep(restore, situation, outcome, started, error)
            fault = {"database": request.database, "backup_id": restore.manifest.id, **describe(error)}
            services.publisher.publish("Restore Failed", fault)
            raise
        finally:
            services.catalogue.end_run(request.database, run_id)
        _keep(restore, situation, outcome, started)
        totals = restore.manifest.totals
        result = RestoreResult(
            mode="swap" if situation.swap else "new",
            database=request.database,
            backup_id=restore.manifest.id,
            target_database=target.database,
            kept_as=situation.swap.aside if situation.swap else None,
            safety_backup=outcome.safety_backup,
            tables=totals.relations,
            rows=totals.rows,
            bytes=totals.bytes,
            seconds=round((utc_now() - started).total_seconds(), 3),
            digests_equal=not any(finding.code == GENERATED_DIFFERS for finding in exceptions),
            phases=restore.watch.phases,
            findings=outcome.findings + shown.findings,
            exceptions=listed(exceptions),
        )
        services.publisher.publish("Restore Completed", result.answer())
        return result


@contextmanager
def _opened(
    request: RestoreRequest, target: Target, services: Services, seconds: float
) -> Iterator[_Restore]:
    watch = Stopwatch("the restore", min(seconds, services.max_run_seconds))
    backup = chosen_backup(services.store, request.database, request.backup)
    manifest, digest = load_manifest(services.store, request.database, backup)
    with scratch_folder(services.scratch, "restore") as folder:
        contents = read_contents(services.store, manifest, folder / "sections")
        schema = fetch_file(services.store, manifest.schema_file, folder / "schema")
        schema = _mapped(schema, request)
        tell = partial(services.catalogue.run_progress, request.database, _run_id(request, manifest))
        meter = Meter(tell, manifest.totals.bytes)
        yield _Restore(services, request, target, folder, watch, manifest, digest, contents, schema, meter)


def _mapped(archive: Path, request: RestoreRequest) -> Path:
    """The archive with the roles that were asked for."""
    if not request.role_map:
        return archive
    out = archive.with_name(f"{archive.name}-mapped")
    map_roles(archive, out, request.role_map)
    archive.unlink()
    return out


def _run_id(request: RestoreRequest, manifest: Manifest) -> str:
    """The run's name in the catalogue; a plan is confirmed by its token, which names the run as well."""
    return f"{manifest.id}-{(request.token or 'plan')[:12]}"


def _inspect(restore: _Restore, token: str) -> Situation:
    """Look at everything that the plan depends on, without changing anything."""
    request, wanted = restore.request, restore.wanted
    swap = None
    if request.mode == "swap":
        safety, registry = request.safety == "take", restore.services.registry
        swap = inspect_swap(wanted, token_time(token), registry, safety=safety)
    # The archive is listed by the newest tools: they read every older archive.
    entries = list_entries(restore.services.tools, 18, restore.schema, deadline=restore.watch.deadline)
    return inspect_target(
        wanted,
        restore.manifest,
        restore.contents,
        entries,
        roles=request.roles,
        role_map=request.role_map,
        swap=swap,
    )


def _digest(restore: _Restore, situation: Situation) -> str:
    roles = restore.request.roles
    exceptions = restore.request.exceptions
    return plan_digest(
        bound_to(
            restore.manifest, restore.root_hash, restore.wanted, situation, roles=roles, exceptions=exceptions
        )
    )


def _shown(restore: _Restore, situation: Situation, token: str) -> RestorePlan:
    measured = restore.services.catalogue.restores(restore.request.database)
    taking = estimate(restore.manifest.totals.bytes, measured)
    return make_plan(
        restore.manifest,
        restore.wanted,
        situation,
        taking,
        token=token,
        exceptions=restore.request.exceptions,
    )


def _audited(restore: _Restore, situation: Situation) -> dict[str, str]:
    """What the audit trail keeps: enough to know later which databases belong together."""
    swap = situation.swap
    more = {"kept_as": swap.aside, "safety": restore.request.safety} if swap else {}
    return {"target": restore.wanted.label, "mode": restore.request.mode, **more}


def _keep(
    restore: _Restore,
    situation: Situation,
    outcome: _Outcome,
    started: datetime,
    error: BaseException | None = None,
) -> None:
    """Keep in the history what the restore did; a safety backup's time isn't the restore's."""
    before = timedelta(seconds=restore.watch.phases.get("safety_backup", 0.0))
    totals, swap = restore.manifest.totals, situation.swap
    entry = RestoreEntry(
        database=restore.request.database,
        time="",
        kind="swap" if swap else "new",
        status="completed",
        backup_id=restore.manifest.id,
        target=restore.wanted.label,
        target_database=restore.wanted.database,
        kept_as=swap.aside if swap else None,
        safety_backup=outcome.safety_backup,
        tables=totals.relations,
        rows=totals.rows,
        bytes=totals.bytes,
    )
    remember(restore.services.catalogue, entry, started + before, error)


def _protect(restore: _Restore, situation: Situation, outcome: _Outcome) -> None:
    """Back up the database that is to be replaced, if that was planned."""
    if situation.swap is not None and situation.swap.registered is not None:
        watch, take = restore.watch, restore.services.take_backup
        with watch.phase("safety_backup"):
            outcome.safety_backup = safety_backup(
                situation.swap, restore.manifest.id, take, watch.seconds_left
            )


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
        findings, exceptions = _fill(restore, situation, working)
        findings += _name(restore, situation, working.database)
    except RestoreMismatchError:
        raise
    except BaseException:
        _drop(maintenance, working.database)
        raise
    return findings, exceptions


def _name(restore: _Restore, situation: Situation, working: str) -> list[Finding]:
    """Give the database its final name."""
    wanted, seconds = restore.wanted, restore.watch.seconds_left
    if situation.swap is not None:
        return put_in_place(wanted, situation.swap, working, seconds=seconds)
    with open_session(replace(wanted, database=MAINTENANCE), seconds=seconds) as session:
        session.run(f"ALTER DATABASE {identifier(working)} RENAME TO {identifier(wanted.database)}")
    return []


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
        # What takes another database's place gets that one's settings with its name.
        findings = [] if situation.swap else _settings(restore, session, target)
        tables = critical_tables(services.registry, restore.request.database)
        findings += missing_tables(session, tables)
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
        path = _mapped(path, restore.request)
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
    record, mapped = restore.contents.database, restore.request.role_map
    if record is not None:
        settings = tuple((mapped.get(role, role), setting) for role, setting in record.settings)
        record = replace(record, settings=settings)
    for statement in database_statements(record, target.database) if record is not None else []:
        try:
            session.run(statement)
        except CoffreError as error:
            findings.append(
                Finding(level="warn", code="setting-not-restored", object=statement, message=error.message)
            )
    return findings
