"""Give a selection of an archive another schema: PostgreSQL itself renames, in a database made for that.

Definitions name schemas in many places (types, defaults, checks, partitions), which no rewriting of text gets
right.  So the selected objects are made, empty, in a database of their own, moved into one schema there, and
dumped again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from coffre.databases.postgresql.connection import Session, identifier, open_session, qualified
from coffre.databases.postgresql.schema import SchemaArchive
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import dump_major, restore_major
from coffre.restore.build import create_database, discard_database
from coffre.restore.job import Restore
from coffre.restore.leftovers import working_name
from coffre.restore.selection import Selection

OPTIONS = ("--no-owner", "--no-privileges", "--no-tablespaces")

# What isn't here moves by itself: indexes, row types and the sequences of columns with their table.
_OBJECTS = """
SELECT kind, n.nspname, x.name FROM (
  SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid, 'pg_class'::regclass,
         c.relnamespace, c.relname
  FROM pg_class c WHERE c.relkind IN ('r', 'p', 'S')
  UNION ALL
  SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.oid, 'pg_type'::regclass,
         t.typnamespace, t.typname
  FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
  WHERE t.typtype IN ('d', 'e', 'r', 'm') OR (t.typtype = 'c' AND c.relkind = 'c')
  UNION ALL
  SELECT 'COLLATION', l.oid, 'pg_collation'::regclass, l.collnamespace, l.collname FROM pg_collation l
  UNION ALL
  SELECT 'STATISTICS', s.oid, 'pg_statistic_ext'::regclass, s.stxnamespace, s.stxname FROM pg_statistic_ext s
) AS x (kind, oid, catalogue, namespace, name) JOIN pg_namespace n ON n.oid = x.namespace
WHERE left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = x.catalogue AND d.objid = x.oid
                  AND d.deptype IN ('a', 'i', 'e') AND d.refclassid <> 'pg_namespace'::regclass
                  AND (d.deptype = 'e' OR x.kind = 'SEQUENCE'))
ORDER BY x.oid
"""


def reshape(restore: Restore, selection: Selection, schema: str, major: int) -> Path:
    """An archive of the selected objects, all in ``schema``.

    Parameters
    ----------
    major:
        The target server's.

    Raises
    ------
    CoffreError
        The database that was made for it is gone in any case.
    """
    wanted, watch = restore.wanted, restore.watch
    workshop = replace(wanted, database=working_name(wanted.database))
    maintenance = wanted.maintenance
    with open_session(maintenance, seconds=watch.seconds_left, application="coffre/restore") as session:
        create_database(session, restore.manifest, workshop.database)
    try:
        _make(restore, selection, workshop, major)
        with open_session(workshop, seconds=watch.seconds_left, application="coffre/restore") as session:
            _move(session, schema)
        return _dump(restore, workshop, schema, major)
    finally:
        discard_database(maintenance, workshop.database)


def _make(restore: Restore, selection: Selection, workshop: Target, major: int) -> None:
    tools, deadline = restore.services.tools, restore.watch.deadline
    everything = SchemaArchive(tools, restore_major(major), restore.schema, workshop, deadline, OPTIONS)
    left_out = frozenset(e.dump_id for e in everything.entries() if e.dump_id not in selection.entries)
    archive = replace(everything, left_out=left_out)
    archive.before_rows()
    archive.all_after_rows()


def _move(session: Session, schema: str) -> None:
    session.run(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}")
    for kind, where, name in session.run(_OBJECTS):
        if where != schema:
            session.run(f"ALTER {kind} {qualified(where, name)} SET SCHEMA {identifier(schema)}")


def _dump(restore: Restore, workshop: Target, schema: str, major: int) -> Path:
    out = restore.folder / "reshaped"
    # A pattern in which every character stands for itself.
    pattern = '"' + schema.replace('"', '""') + '"'
    arguments = ["--format=custom", "--schema-only", "--no-owner", "--no-privileges", f"--schema={pattern}"]
    tools, deadline = restore.services.tools, restore.watch.deadline
    tools.run("pg_dump", dump_major(major), arguments, workshop, deadline=deadline, stdout=out)
    return out
