"""Fill a database with a backup: roles, schema, rows, and all that follows them; compare on the way."""

from __future__ import annotations

from collections.abc import Sequence

from coffre.databases.postgresql.adapting import adapted
from coffre.databases.postgresql.compare import GENERATED_DIFFERS, compare_objects
from coffre.databases.postgresql.complaints import Complaint
from coffre.databases.postgresql.connection import Session, identifier, qualified
from coffre.databases.postgresql.exceptions import Exceptions, explain
from coffre.databases.postgresql.public_schema import shut_public
from coffre.databases.postgresql.rebuild import Rebuild
from coffre.databases.postgresql.recheck import recheck_text_indexes
from coffre.databases.postgresql.schema import SchemaArchive, restore_large_objects
from coffre.databases.postgresql.statistics import next_tables, without_statistics
from coffre.databases.postgresql.subscriptions import detach_subscriptions
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.toc import read_toc
from coffre.databases.postgresql.tools import restore_major
from coffre.restore.belongings import give_belongings
from coffre.restore.critical import critical_tables, missing_tables
from coffre.restore.job import Restore, mapped, options_of
from coffre.restore.opening import Right, close_again, open_to_owners, owners_rights
from coffre.restore.plan import Situation
from coffre.restore.refuse import refuse_differences, refuse_exceptions
from coffre.restore.roles import create_roles
from coffre.results import Finding
from coffre.vault.contents import largest_first
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
    schema = adapted(restore.schema, major=situation.major, superuser=situation.superuser)
    archive = SchemaArchive(services.tools, major, schema, target, watch.deadline, options, left_out)
    reading = {"bucket": services.store.bucket, "seal": services.store.seal.hand_over()}
    start = services.start_workers
    rebuild = Rebuild(
        target, restore.manifest, restore.contents, watch, start, reading, as_owner=False, alone=True
    )
    with watch.phase("roles"), rebuild.session() as session:
        findings = create_roles(session, situation.roles)
    with watch.phase("schema"):
        opened = _schema(rebuild, archive, situation, keep=restore.request.roles == "keep")
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
            findings += detach_subscriptions(session)
            close_again(session, opened)
        missing = after_indexes(rebuild, archive, complaints)
        exceptions += missing.findings
        refuse_exceptions(restore.request, restore.manifest.id, exceptions)
    with watch.phase("analyze"), rebuild.session() as session:
        findings += _analyze(session)
        refuse_differences(target, compare_objects(session, restore.manifest, missing.missing))
        tables = critical_tables(services.registry, restore.request.database)
        findings += missing_tables(session, tables)
    with watch.phase("recheck"), rebuild.session() as session:
        out_of_order, unchecked = recheck_text_indexes(session)
        refuse_differences(target, out_of_order)
        findings += unchecked
        record, created = restore.contents.database, situation.roles.created
        findings += give_belongings(session, record, restore.request, target.database, created)
        if mark is not None:
            session.run(f"DROP SCHEMA {identifier(mark)}")
    archive.event_triggers()
    return findings, exceptions


def _schema(rebuild: Rebuild, archive: SchemaArchive, situation: Situation, *, keep: bool) -> list[Right]:
    """Restore what comes before the rows; the rights that owners were given for that."""
    archive.schemas()
    opened: list[Right] = []
    if keep:
        with rebuild.session() as session:
            shut_public(session)
            if not situation.superuser:
                toc = read_toc(archive.path, session.python_encoding)
                opened = open_to_owners(session, owners_rights(toc))
    archive.before_rows(schemas=False)
    return opened


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


def _analyze(session: Session) -> list[Finding]:
    """Gather statistics; of what there are none."""
    left_out = without_statistics(session)
    if not left_out:
        session.run("ANALYZE")
        return []
    after = 0
    while tables := next_tables(session, after):
        for schema, name, after in tables:  # noqa: B007 - the last one's is where the next ones begin
            session.run(f"ANALYZE {qualified(schema, name)}")
    return left_out


def _restore_archive(restore: Restore, major: int, target: Target, options: tuple[str, ...]) -> None:
    """Restore the large objects of an older backup, which has them in an archive."""
    file = restore.manifest.file("large_objects")
    if file is not None:
        path = fetch_file(restore.services.store, file, restore.folder / "large_objects")
        path = mapped(path, restore.request, restore.manifest)
        tools, deadline = restore.services.tools, restore.watch.deadline
        restore_large_objects(tools, major, path, target, deadline=deadline, options=options)
