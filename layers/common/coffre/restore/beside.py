"""Bring tables into a schema of their own, beside what a database holds.

They are made in a schema under a working name, filled, compared, and get the schema's final name last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from coffre.databases.postgresql.connection import Session, identifier, literal, open_session, qualified
from coffre.databases.postgresql.rebuild import Rebuild
from coffre.databases.postgresql.schema import SchemaArchive
from coffre.databases.postgresql.tools import restore_major
from coffre.errors import CoffreError, RestoreMismatchError
from coffre.restore.chosen import Chosen
from coffre.restore.fill import after_indexes, compared
from coffre.restore.job import Restore
from coffre.restore.leftovers import working_schema
from coffre.restore.plan import CHECK_SECONDS
from coffre.restore.refuse import refuse_exceptions
from coffre.restore.reshape import OPTIONS, reshape
from coffre.results import Finding
from coffre.vault.contents import Contents, Section, largest_first
from coffre.vault.parts import Relation
from coffre.workers import WORKERS


def build_beside(restore: Restore, chosen: Chosen) -> list[Finding]:
    """Make the schema with the chosen tables; the exceptions: what had to be left out.

    Raises
    ------
    RestoreExceptionsError
        If there are exceptions and the plan doesn't accept them.
    RestoreMismatchError
        If the rows differ.
    CoffreError
        In any case what was begun is gone again.
    """
    working = working_schema()
    with restore.watch.phase("reshape"):
        reshaped = reshape(restore, chosen.selection, working, chosen.major)
    with _dropped_on_error(restore, working):
        exceptions = _fill(restore, chosen, working, reshaped)
        with _session(restore) as session:
            session.run(f"ALTER SCHEMA {identifier(working)} RENAME TO {identifier(chosen.into)}")
    return exceptions


def _fill(restore: Restore, chosen: Chosen, working: str, reshaped: Path) -> list[Finding]:
    watch, services = restore.watch, restore.services
    tools, major = services.tools, restore_major(chosen.major)
    archive = SchemaArchive(tools, major, reshaped, restore.wanted, watch.deadline, OPTIONS)
    contents = _renamed(chosen.contents, working)
    store, start = services.store, services.start_workers
    reading = {"bucket": store.bucket, "seal": store.seal.hand_over()}
    # A lock that stands against reading would stop whoever backs the database up meanwhile.
    rebuild = Rebuild(
        restore.wanted, restore.manifest, contents, watch, start, reading, as_owner=False, alone=False
    )
    with watch.phase("schema"):
        archive.before_rows()
        _check_all_known(restore, working, contents.relations.values())
    with watch.phase("rows"):
        told, sections = restore.meter.add, _sections(restore, contents)
        exceptions = rebuild.load(sections, lambda rows, size: told(rows=rows, done=size))
    with watch.phase("digests"):
        exceptions += compared(rebuild, chosen.major, restore.wanted)
    with watch.phase("indexes"):
        exceptions += after_indexes(rebuild, archive, archive.indexes(WORKERS)).findings
        refuse_exceptions(restore.request, restore.manifest.id, exceptions)
    with watch.phase("analyze"), _session(restore) as session:
        for relation in contents.relations.values():
            session.run(f"ANALYZE {qualified(relation.schema, relation.name)}")
    return exceptions


def _check_all_known(restore: Restore, schema: str, relations: Iterable[Relation]) -> None:
    """No table may stay empty because the backup's parts call it otherwise than its schema does."""
    with _session(restore) as session:
        made = session.run(
            "SELECT relname::text FROM pg_class WHERE relkind = 'r' "
            f"AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = {literal(schema)})"
        )
    unknown = {row[0] for row in made} ^ {relation.name for relation in relations}
    if unknown:
        raise RestoreMismatchError(f"the backup's schema and its parts name different tables: {unknown}")


def _renamed(contents: Contents, schema: str) -> Contents:
    """The same in another schema."""
    return Contents(
        sequences=[replace(sequence, schema=schema) for sequence in contents.sequences],
        relations={number: _moved(relation, schema) for number, relation in contents.relations.items()},
        ends=contents.ends,
    )


def _moved(relation: Relation, schema: str) -> Relation:
    root = schema if relation.root_schema is not None else None
    return replace(relation, schema=schema, root_schema=root)


def _sections(restore: Restore, contents: Contents) -> Iterator[Section]:
    for section in largest_first(restore.folder / "sections"):
        if section.relation.id in contents.relations:
            yield replace(section, relation=contents.relations[section.relation.id])


@contextmanager
def _dropped_on_error(restore: Restore, schema: str) -> Iterator[None]:
    """Remove the schema that was begun, if it isn't finished."""
    try:
        yield
    except BaseException:
        try:
            with open_session(restore.wanted, seconds=CHECK_SECONDS) as session:
                session.run(f"DROP SCHEMA IF EXISTS {identifier(schema)} CASCADE")
        except CoffreError:
            # The first error is the one to report; the working name shows what is left.
            pass
        raise


def _session(restore: Restore) -> Session:
    seconds = restore.watch.seconds_left
    return open_session(restore.wanted, seconds=seconds, application="coffre/restore")
