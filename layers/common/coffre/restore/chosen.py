"""Which tables a restore of some tables brings back, and whether the target can take them."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.databases.postgresql.connection import Session, literal, open_session
from coffre.databases.postgresql.room import lacking_room
from coffre.databases.postgresql.toc import read_toc
from coffre.errors import (
    RestoreMismatchError,
    TablesPublishedError,
    TargetLacksError,
    TargetNotEmptyError,
)
from coffre.readable import readable
from coffre.restore.fitness import refuse_older
from coffre.restore.job import Restore
from coffre.restore.leftovers import left_databases, left_schemas
from coffre.restore.plan import CHECK_SECONDS
from coffre.restore.selection import Selection, select
from coffre.results import Finding
from coffre.vault.contents import Contents

_EXTENSIONS = """
SELECT e.extname::text, n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
"""

# A new schema is in no publication FOR TABLES IN SCHEMA; without logical decoding nobody is sent anything.
_PUBLISHES_ALL = """
SELECT pubname::text FROM pg_publication WHERE puballtables AND current_setting('wal_level') = 'logical'
ORDER BY 1
"""


@dataclass(frozen=True)
class Chosen:
    """What will be restored, and where.

    Attributes
    ----------
    contents:
        The chosen relations and sequences, as they are named at the source.
    into:
        The schema that is made for them.
    major:
        The target server's.
    """

    selection: Selection
    contents: Contents
    into: str
    major: int
    findings: tuple[Finding, ...]

    @property
    def rows(self) -> int:
        """Rows of all chosen relations."""
        return sum(end.rows for end in self.contents.ends.values())

    @property
    def bytes(self) -> int:
        """Bytes of all chosen relations' COPY text."""
        return sum(end.bytes for end in self.contents.ends.values())


def choose(restore: Restore) -> Chosen:
    """Look at the archive and at the target; nothing is changed.

    Raises
    ------
    UnknownTablesError, TablesNotMovableError, TablesPublishedError, TargetNotEmptyError, TargetTooOldError,
    TargetLacksError
    """
    manifest, wanted = restore.manifest, restore.wanted
    into = restore.request.into or default_schema(manifest.id)
    with open_session(wanted, seconds=CHECK_SECONDS, application="coffre/plan") as session:
        _refuse_unfit(session, restore, into)
        selection = select(read_toc(restore.schema, session.python_encoding), restore.request.tables)
        contents = _narrowed(restore.contents, selection)
        lacking, unknown = lacking_room(session, sum(end.bytes for end in contents.ends.values()))
        lacking += _lacking_rights(session) + _lacking_extensions(session, restore, selection)
        if lacking:
            raise TargetLacksError(
                f"the role {wanted.user} at {wanted.label} lacks: {'; '.join(lacking)}",
                "Grant or install what is named, or use another role.",
            )
        left = left_databases(session, wanted.database) + left_schemas(session)
        findings = (*map(_stays_out, selection.left_out), *unknown, *left)
        return Chosen(selection, contents, into, session.major, findings)


def default_schema(backup_id: str) -> str:
    """A schema's name that tells the backup's time, for example ``restored_20261120t023000z``."""
    return f"restored_{backup_id.partition('-')[0].lower()}"


def _refuse_unfit(session: Session, restore: Restore, into: str) -> None:
    refuse_older(session, restore.wanted, restore.manifest)
    label, encoding = restore.wanted.label, restore.manifest.locale.encoding
    if session.encoding != encoding:
        raise TargetLacksError(
            f"{label} has encoding {session.encoding}, the backup {encoding}",
            "Restore into a database with the backup's encoding.",
        )
    if session.run(f"SELECT FROM pg_namespace WHERE nspname = {literal(into)}"):
        raise TargetNotEmptyError(
            f"{label} has a schema {into} already", "Name one that doesn't exist with `--into`."
        )
    publications = [row[0] for row in session.run(_PUBLISHES_ALL)]
    if publications:
        raise TablesPublishedError(
            f"{label} publishes all tables, new ones too: {', '.join(publications)}; subscribers would be "
            "sent the restored rows, and one without the new tables would stop"
        )


def _lacking_rights(session: Session) -> list[str]:
    lacking = []
    if not session.value("SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user"):
        lacking.append("CREATEDB: the tables get their new schema in a database that is made for that")
    if not session.value("SELECT has_database_privilege(current_database(), 'CREATE')"):
        lacking.append("CREATE on the database")
    return lacking


def _lacking_extensions(session: Session, restore: Restore, selection: Selection) -> list[str]:
    """Extensions that the target hasn't in the same schema, or that this role may not create elsewhere."""
    needed = {e.name: e.schema_ for e in restore.manifest.extensions if e.name in selection.extensions}
    there = {(readable(row[0]), readable(row[1])) for row in session.run(_EXTENSIONS)}
    lacking = [
        f"extension {name} in schema {schema}"
        for name, schema in needed.items()
        if (name, schema) not in there
    ]
    if not session.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        trusted = {
            row[0] for row in session.run("SELECT name FROM pg_available_extension_versions WHERE trusted")
        }
        lacking += [
            f"superuser: the tables need the extension {name} where they get their new schema"
            for name in needed
            if name not in trusted
        ]
    return lacking


def _narrowed(contents: Contents, selection: Selection) -> Contents:
    """The contents of the chosen tables, with the sequences that come along."""
    relations = {
        number: relation
        for number, relation in contents.relations.items()
        if (relation.schema, relation.name) in selection.tables and relation.kind in ("table", "leaf")
    }
    sequences = [one for one in contents.sequences if (one.schema, one.name) in selection.sequences]
    if len(sequences) != len(selection.sequences):
        raise RestoreMismatchError("the backup's schema and its parts name different sequences")
    return Contents(
        sequences=sequences,
        relations=relations,
        ends={number: contents.ends[number] for number in relations},
    )


def _stays_out(what: str) -> Finding:
    return Finding(level="warn", code="left-out", object=what, message=f"{what} stays out")
