"""Fill a database with a backup: roles, schema, rows, and all that follows them; compare on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from coffre.databases.postgresql.compare import GENERATED_DIFFERS, compare_objects
from coffre.databases.postgresql.complaints import Complaint
from coffre.databases.postgresql.connection import Session, identifier
from coffre.databases.postgresql.exceptions import Exceptions, explain
from coffre.databases.postgresql.rebuild import Rebuild
from coffre.databases.postgresql.recheck import recheck_text_indexes
from coffre.databases.postgresql.roles import create_role, database_statements, grant_memberships
from coffre.databases.postgresql.schema import SchemaArchive, restore_large_objects
from coffre.databases.postgresql.subscriptions import detach_subscriptions
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import restore_major
from coffre.errors import CoffreError
from coffre.restore.critical import critical_tables, missing_tables
from coffre.restore.job import Restore, mapped, options_of
from coffre.restore.plan import Situation
from coffre.restore.refuse import refuse_differences, refuse_exceptions
from coffre.results import Finding
from coffre.vault.contents import largest_first
from coffre.vault.parts import DatabaseRecord, Role
from coffre.vault.reader import fetch_file
from coffre.workers import WORKERS


def fill(
    restore: Restore, situation: Situation, target: Target, mark: str | None = None
) -> tuple[list[Finding], list[Finding]]:
    """Put everything into an empty database, and compare.

    Parameters
    ----------
    mark:
        A schema that shows that the database isn't whole; it goes once it is.

    Returns
    -------
    tuple[list[Finding], list[Finding]]
        What isn't like at the source, and the exceptions: what had to be left out.

    Raises
    ------
    RestoreExceptionsError
        If there are exceptions and the plan doesn't accept them.
    RestoreMismatchError
        If the rows or the objects differ.
    """
    services, watch = restore.services, restore.watch
    major = restore_major(situation.major)
    options = options_of(restore.request)
    left_out = situation.left_out
    archive = SchemaArchive(services.tools, major, restore.schema, target, watch.deadline, options, left_out)
    reading = {"bucket": services.store.bucket, "seal": services.store.seal.hand_over()}
    start = services.start_workers
    rebuild = Rebuild(
        target, restore.manifest, restore.contents, watch, start, reading, as_owner=False, alone=True
    )
    with watch.phase("roles"), rebuild.session() as session:
        roles = situation.create_roles
        create_roles(session, roles, situation.join_roles, superuser=situation.superuser)
    with watch.phase("schema"):
        archive.before_rows()
        rebuild.make_large_objects(restore.request.role_map, owned=restore.request.roles != "mine")
    with watch.phase("rows"):
        told = restore.meter.add
        exceptions = rebuild.load(
            largest_first(restore.folder / "sections"), lambda rows, size: told(rows=rows, done=size)
        )
    with watch.phase("digests"):
        # Before triggers and policies exist: nothing changes rows after this, and nothing hides them yet.
        exceptions += compared(rebuild, situation.major, target)
    with watch.phase("large_objects"):
        if restore.request.roles != "mine":
            rebuild.grant_large_objects(restore.request.role_map)
        _restore_archive(restore, major, target, options)
    with watch.phase("indexes"):
        complaints = archive.indexes(WORKERS)
        with rebuild.session() as session:
            # At once: whatever becomes of this restore, nothing of it may hold the source's slots.
            findings = detach_subscriptions(session)
        missing = after_indexes(rebuild, archive, complaints)
        exceptions += missing.findings
        refuse_exceptions(restore.request, restore.manifest.id, exceptions)
    with watch.phase("analyze"), rebuild.session() as session:
        session.run("ANALYZE")
        refuse_differences(target, compare_objects(session, restore.manifest, missing.missing))
        # What takes another database's place gets that one's settings with its name.
        record, role_map = restore.contents.database, restore.request.role_map
        findings += [] if situation.swap else apply_settings(record, role_map, session, target)
        tables = critical_tables(services.registry, restore.request.database)
        findings += missing_tables(session, tables)
    with watch.phase("recheck"), rebuild.session() as session:
        out_of_order, unchecked = recheck_text_indexes(session)
        refuse_differences(target, out_of_order)
        findings += unchecked
        if mark is not None:
            session.run(f"DROP SCHEMA {identifier(mark)}")
    archive.event_triggers()
    return findings, exceptions


def compared(rebuild: Rebuild, major: int, target: Target) -> list[Finding]:
    """Compare the rows with the backup; the exceptions: generated values that came out otherwise.

    Raises
    ------
    RestoreMismatchError
        If anything else differs.
    """
    differences = rebuild.compare(major)[0]
    refuse_differences(target, [finding for finding in differences if finding.code != GENERATED_DIFFERS])
    return [finding for finding in differences if finding.code == GENERATED_DIFFERS]


def after_indexes(rebuild: Rebuild, archive: SchemaArchive, complaints: Sequence[Complaint]) -> Exceptions:
    """Grants and materialized views; what can't be restored of them is named, and what complaints name."""
    complaints = [*complaints, *archive.grants(), *archive.refresh(WORKERS)]
    if not complaints:
        return Exceptions()
    with rebuild.session() as session:
        return explain(archive, complaints, rebuild.open_as, session)


def _restore_archive(restore: Restore, major: int, target: Target, options: tuple[str, ...]) -> None:
    """Restore the large objects of an older backup, which has them in an archive."""
    file = restore.manifest.file("large_objects")
    if file is not None:
        path = fetch_file(restore.services.store, file, restore.folder / "large_objects")
        path = mapped(path, restore.request)
        tools, deadline = restore.services.tools, restore.watch.deadline
        restore_large_objects(tools, major, path, target, deadline=deadline, options=options)


def create_roles(session: Session, roles: Sequence[Role], join: Sequence[str], *, superuser: bool) -> None:
    """Create roles with their memberships in each other, and make the session's own role a member of some.

    Parameters
    ----------
    join:
        Names of the latter.
    superuser:
        Whether the session's role is one; others can't give every attribute.
    """
    for role in roles:
        session.run(create_role(role if superuser else _ordinary(role)))
    names = {role.name for role in roles}
    for role in roles:
        groups = replace(role, member_of=tuple(group for group in role.member_of if group in names))
        for grant in grant_memberships(groups):
            session.run(grant)
    me = identifier(str(session.value("SELECT current_user")))
    inherit = " WITH INHERIT TRUE, SET TRUE" if session.major >= 16 else ""
    for name in join:
        session.run(f"GRANT {identifier(name)} TO {me}{inherit}")


def _ordinary(role: Role) -> Role:
    """The role without the attributes that only a superuser may give."""
    reserved = {"SUPERUSER", "REPLICATION", "BYPASSRLS", "CREATEROLE", "CREATEDB"}
    reserved |= {f"NO{name}" for name in reserved}
    return replace(role, attributes=tuple(name for name in role.attributes if name not in reserved))


def apply_settings(
    record: DatabaseRecord | None, role_map: Mapping[str, str], session: Session, target: Target
) -> list[Finding]:
    """Apply what belongs to the database itself; what this role may not set is reported."""
    findings = []
    if record is not None:
        settings = tuple((role_map.get(role, role), setting) for role, setting in record.settings)
        record = replace(record, settings=settings)
    for statement in database_statements(record, target.database) if record is not None else []:
        try:
            session.run(statement)
        except CoffreError as error:
            findings.append(
                Finding(level="warn", code="setting-not-restored", object=statement, message=error.message)
            )
    return findings
