"""One restore into a new database: plan, then the confirmed plan and nothing else.

The database is built under a name of its own and gets its final name last, so a restore that was interrupted
never looks finished.  A target that exists already, and is empty, is filled where it is.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from coffre.catalogue.index import Catalogue
from coffre.catalogue.meter import Meter
from coffre.databases.postgresql import compare
from coffre.databases.postgresql.connection import Session, Target, identifier, literal, open_session
from coffre.databases.postgresql.dump import list_entries
from coffre.databases.postgresql.load import load_items
from coffre.databases.postgresql.roles import create_role, database_statements, grant_memberships
from coffre.databases.postgresql.schema import SchemaArchive, restore_large_objects, set_sequences
from coffre.databases.postgresql.tools import Tools, restore_major
from coffre.errors import (
    CoffreError,
    DeadlineExceededError,
    ManifestInvalidError,
    PlanChangedError,
    RestoreMismatchError,
    describe,
)
from coffre.events import RestoreRequest
from coffre.ids import new_attempt, utc_now
from coffre.notify.publisher import Publisher
from coffre.restore.plan import MAINTENANCE, Situation, inspect_target, make_plan
from coffre.results import Finding, RestorePlan, RestoreResult
from coffre.vault.contents import Contents, largest_first, read_contents, scratch_folder
from coffre.vault.manifest import Manifest
from coffre.vault.parts import Role
from coffre.vault.reader import fetch, load_manifest
from coffre.vault.store import ObjectStore
from coffre.workers import Message, WorkerPool

WORKERS = 2


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


@dataclass
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
    deadline: float
    manifest: Manifest
    root_hash: str
    contents: Contents
    schema: Path
    meter: Meter
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Until the restore must have ended."""
        return self.deadline - time.monotonic()

    def check_time(self) -> None:
        """Raise DeadlineExceededError when the time is over."""
        if self.seconds_left < 0:
            raise DeadlineExceededError(f"the restore of {self.manifest.id} ran out of time")

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a phase."""
        started = time.monotonic()
        yield
        self.phases[name] = round(time.monotonic() - started, 3)
        self.check_time()


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
            findings = _build(restore, situation)
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
            digests_equal=True,
            phases=restore.phases,
            findings=findings + shown.findings,
        )
        services.publisher.publish("Restore Completed", result.answer())
        return result


@contextmanager
def _opened(
    request: RestoreRequest, target: Target, services: Services, seconds: float
) -> Iterator[_Restore]:
    deadline = time.monotonic() + min(seconds, services.max_run_seconds)
    manifest, digest = load_manifest(services.store, request.database, request.backup)
    with scratch_folder(services.scratch, "restore") as folder:
        contents = read_contents(services.store, manifest, folder / "sections")
        schema = _fetch(services, manifest, "schema", folder)
        tell = partial(services.catalogue.run_progress, request.database, _run_id(request, manifest))
        meter = Meter(tell, manifest.totals.bytes)
        yield _Restore(services, request, target, folder, deadline, manifest, digest, contents, schema, meter)


def _run_id(request: RestoreRequest, manifest: Manifest) -> str:
    """The run's name in the catalogue; a plan is confirmed by its token, which names the run as well."""
    return f"{manifest.id}-{(request.token or 'plan')[:12]}"


def _plan(restore: _Restore) -> tuple[RestorePlan, Situation]:
    # The archive is listed by the newest tools: they read every older archive.
    entries = list_entries(restore.services.tools, 18, restore.schema, deadline=restore.deadline)
    roles = restore.request.roles
    situation = inspect_target(restore.wanted, restore.manifest, restore.contents, entries, roles=roles)
    return make_plan(restore.manifest, restore.root_hash, restore.wanted, situation, roles=roles), situation


def _build(restore: _Restore, situation: Situation) -> list[Finding]:
    """Create, fill, compare, and give the final name; what was not like at the source."""
    if not situation.creates:
        return _fill(restore, situation, restore.wanted)
    working = replace(restore.wanted, database=_working_name(restore.wanted.database))
    maintenance = replace(restore.wanted, database=MAINTENANCE)
    with open_session(maintenance, seconds=restore.seconds_left, application="coffre/restore") as session:
        _create_database(session, restore.manifest, working.database)
    try:
        findings = _fill(restore, situation, working)
        with open_session(maintenance, seconds=restore.seconds_left) as session:
            names = f"{identifier(working.database)} RENAME TO {identifier(restore.wanted.database)}"
            session.run(f"ALTER DATABASE {names}")
    except RestoreMismatchError:
        raise
    except BaseException:
        _drop(maintenance, working.database)
        raise
    return findings


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


def _fill(restore: _Restore, situation: Situation, target: Target) -> list[Finding]:
    major = restore_major(situation.major)
    options = (
        "--no-tablespaces",
        *(("--no-owner", "--no-privileges") if restore.request.roles == "mine" else ()),
    )
    archive = SchemaArchive(
        restore.services.tools, major, restore.schema, target, restore.deadline, options, situation.left_out
    )
    with restore.phase("roles"), open_session(target, seconds=restore.seconds_left) as session:
        _create_roles(session, situation)
    with restore.phase("schema"):
        archive.before_rows()
    with restore.phase("rows"):
        _load(restore, target)
    with restore.phase("digests"):
        _compare_rows(restore, target, situation)
    objects = _fetch(restore.services, restore.manifest, "large_objects", restore.folder)
    if objects.exists():
        with restore.phase("large_objects"):
            restore_large_objects(
                restore.services.tools, major, objects, target, deadline=restore.deadline, options=options
            )
    with restore.phase("indexes"):
        archive.after_rows(WORKERS)
    with restore.phase("analyze"), open_session(target, seconds=restore.seconds_left) as session:
        session.run("ANALYZE")
        _compare_objects(restore, session)
        findings = _settings(restore, session, target)
    archive.event_triggers()
    return findings


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


def _load(restore: _Restore, target: Target) -> None:
    setup = {**_setup(restore, target, "load"), "as_owner": False, "bucket": restore.services.store.bucket}
    sections = ((section.relation, section.chunks) for section in largest_first(restore.folder / "sections"))
    with restore.services.start_workers([setup] * WORKERS, restore.check_time) as pool:
        for _, answer in pool.map(load_items(sections)):
            restore.meter.add(rows=answer["rows"], done=answer["bytes"])
        pool.finish()
    with open_session(target, seconds=restore.seconds_left) as session:
        set_sequences(session, restore.contents.sequences)


def _compare_rows(restore: _Restore, target: Target, situation: Situation) -> None:
    """Before triggers and policies exist: nothing changes rows after this, and nothing hides them yet."""
    source = restore.manifest.engine.server_version_num // 10_000
    setup = _setup(restore, target, "compare")
    findings = []
    with restore.services.start_workers([setup] * WORKERS, restore.check_time) as pool:
        for item, answer in pool.map(compare.compare_items(compare.expectations(restore.contents))):
            finding = compare.judge(item, answer, source=source, here=situation.major)
            findings += [finding] if finding else []
        pool.finish()
    with open_session(target, seconds=restore.seconds_left) as session:
        findings += compare.compare_sequences(session, restore.contents)
    _raise_differences(findings, target)


def _compare_objects(restore: _Restore, session: Session) -> None:
    _raise_differences(compare.compare_objects(session, restore.manifest), session.target)


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


def _setup(restore: _Restore, target: Target, task: str) -> Message:
    return {
        "task": task,
        "target": asdict(target),
        "seconds": restore.seconds_left,
        "encoding": restore.manifest.settings["client_encoding"],
    }


def _fetch(services: Services, manifest: Manifest, role: str, folder: Path) -> Path:
    """A file of the backup in scratch space; the path doesn't exist if the backup has no such file."""
    path = folder / role
    file = next((file for file in manifest.files if file.role == role), None)
    if file is None:
        if role == "schema":
            raise ManifestInvalidError(f"{manifest.id} has no schema file")
        return path
    with fetch(services.store, file.key, size=file.size, sha256=file.sha256) as body, path.open("wb") as out:
        shutil.copyfileobj(body, out)
    return path
