"""What there is to back up, seen under the snapshot.

Sources: pg_dump's own rules (``getTables``, ``dumpTableData``, ``forcePartitionRootLoad`` in pg_dump.c) and
https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coffre.databases.postgresql.connection import Session, qualified
from coffre.databases.postgresql.large_objects import labelled, read_edges, relation_of_pieces
from coffre.vault.manifest import LeftOut
from coffre.vault.parts import Column, Relation

SEQUENCE_BATCH = 200

_USER_SCHEMA = "left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'"
_NOT_MEMBER = """NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                 AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')"""

_RELATIONS = f"""
SELECT c.oid::bigint, c.relkind::text, n.nspname, c.relname, pg_get_userbyid(c.relowner), c.relispartition,
       (s.heap + s.toast)::bigint, (s.heap / current_setting('block_size')::int)::bigint,
       coalesce(CASE WHEN c.relispartition THEN pg_partition_root(c.oid) END, 0)::bigint,
       c.relpersistence = 'u' AND pg_is_in_recovery()
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT CASE WHEN c.relkind = 'r' THEN pg_relation_size(c.oid) ELSE 0 END AS heap,
                           CASE WHEN c.reltoastrelid <> 0 THEN pg_relation_size(c.reltoastrelid) ELSE 0 END
                           AS toast) s
WHERE c.relkind IN ('r', 'S', 'f') AND c.relpersistence <> 't' AND {_USER_SCHEMA} AND {_NOT_MEMBER}
ORDER BY n.nspname, c.relname
"""

_COLUMNS = """
SELECT a.attrelid::bigint, a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated = 's'
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v' AND c.relkind IN ('r', 'p')
  AND c.relpersistence <> 't' AND left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
ORDER BY a.attrelid, a.attnum
"""

_ROOTS = """
SELECT c.oid::bigint, n.nspname, c.relname,
       EXISTS (SELECT FROM pg_partition_tree(c.oid) t
               JOIN pg_partitioned_table p ON p.partrelid = t.relid AND p.partstrat = 'h'
               JOIN pg_opclass o ON o.oid = ANY (p.partclass)
               JOIN pg_am m ON m.oid = o.opcmethod AND m.amname = 'hash'
               WHERE o.opcname = 'enum_ops' AND o.opcnamespace = 'pg_catalog'::regnamespace)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'p' AND NOT c.relispartition AND left(n.nspname, 3) <> 'pg_'
"""

_CONFIGURATION = """
SELECT c.oid::bigint, c.relkind::text, n.nspname, c.relname, pg_get_userbyid(c.relowner), x.condition,
       CASE WHEN c.relkind = 'r' THEN pg_table_size(c.oid) ELSE 0 END::bigint
FROM pg_extension e
CROSS JOIN LATERAL unnest(e.extconfig, e.extcondition) AS x(relation, condition)
JOIN pg_class c ON c.oid = x.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'S')
ORDER BY n.nspname, c.relname
"""

OF_EXTENSIONS = """
SELECT n.nspname, c.relname, e.extname
FROM pg_extension e
JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND pg_relation_size(c.oid) > 0
  AND c.oid <> ALL (coalesce(e.extconfig, '{}'))
ORDER BY 1, 2
"""
"""Tables with rows that extensions have, and don't mark as configuration: no dump holds those rows."""

_UNLOGGED = {"r": "unlogged table", "S": "unlogged sequence"}


@dataclass(frozen=True)
class Found:
    """A relation with rows, as the planner needs it.

    ``size`` is bytes of rows on disk, those in TOAST included, ``pages`` the heap's pages, ``edges`` where
    the pieces of large objects may be divided.
    """

    relation: Relation
    size: int
    pages: int
    edges: tuple[int, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """Everything that a backup of this database holds, and what it leaves out."""

    relations: tuple[Found, ...]
    sequences: tuple[Relation, ...]
    left_out: tuple[LeftOut, ...]
    large_objects: int


@dataclass(frozen=True)
class _Columns:
    """A relation's columns; ``generated``: those whose stored values a load computes again."""

    plain: tuple[Column, ...] = ()
    generated: tuple[Column, ...] = ()


@dataclass(frozen=True)
class _Root:
    schema: str
    name: str
    columns: _Columns
    through_root: bool


def take_inventory(session: Session) -> Inventory:
    """List relations, sequences with their values, and what has to be left out.

    Parameters
    ----------
    session:
        Under the snapshot.  Sequences aren't transactional: their values are read now, after the snapshot, so
        they are never behind the rows.
    """
    columns = _columns(session)
    roots = {row[0]: _Root(row[1], row[2], columns[row[0]], row[3]) for row in session.run(_ROOTS)}
    every = session.run(_RELATIONS)
    rows = [row for row in every if not row[9]]
    configuration = session.run(_CONFIGURATION)
    found: list[Found] = []
    for row in rows:
        if row[1] == "r":
            found.append(Found(_table(len(found), row, columns, roots), row[6], max(row[7], 0)))
    for row in configuration:
        if row[1] == "r":
            relation = Relation(
                len(found),
                "extension_config",
                row[2],
                row[3],
                row[4],
                columns[row[0]].plain,
                condition=row[5] or None,
            )
            found.append(Found(relation, row[6], 0))
    named = [(row[2], row[3], row[4]) for row in [*rows, *configuration] if row[1] == "S"]
    left_out = (
        *(_left_out(row, "foreign table", "its rows lie in another system") for row in rows if row[1] == "f"),
        *(_left_out(row, _UNLOGGED[row[1]], "a standby has nothing of it") for row in every if row[9]),
        *(
            LeftOut(kind="extension table", name=f"{schema}.{name}", reason=f"{extension} makes it anew")
            for schema, name, extension in session.run(OF_EXTENSIONS)
        ),
    )
    objects = int(session.value("SELECT count(*) FROM pg_largeobject_metadata"))
    if objects:
        edges = read_edges(session)
        found.append(Found(relation_of_pieces(len(found)), edges.size, 0, edges.places))
        left_out += tuple(
            LeftOut(kind="security label", name=f"large object {number}", reason="Coffre doesn't keep it")
            for number in labelled(session)
        )
    sequences = _sequences(session, named, first_id=len(found))
    return Inventory(tuple(found), sequences, left_out, objects)


def _left_out(row: Sequence[object], kind: str, reason: str) -> LeftOut:
    return LeftOut(kind=kind, name=f"{row[2]}.{row[3]}", reason=reason)


def _columns(session: Session) -> Mapping[int, _Columns]:
    found: dict[tuple[int, bool], list[Column]] = defaultdict(list)
    for relation, name, kind, generated in session.run(_COLUMNS):
        found[relation, generated].append(Column(name, kind))
    relations = {relation for relation, _ in found}
    made = {r: _Columns(tuple(found.get((r, False), ())), tuple(found.get((r, True), ()))) for r in relations}
    return defaultdict(_Columns, made)


def _table(
    number: int, row: Sequence[object], columns: Mapping[int, _Columns], roots: Mapping[int, _Root]
) -> Relation:
    oid, _, schema, name, owner, _, _, _, root_oid, _ = row
    root = roots.get(int(str(root_oid)))
    if root is None:
        own = columns[int(str(oid))]
        return Relation(
            number, "table", str(schema), str(name), str(owner), own.plain, generated=own.generated
        )
    return Relation(
        number,
        "leaf",
        str(schema),
        str(name),
        str(owner),
        root.columns.plain,
        generated=root.columns.generated,
        load="root" if root.through_root else "self",
        root_schema=root.schema,
        root_name=root.name,
    )


def _sequences(
    session: Session, named: Sequence[tuple[str, str, str]], *, first_id: int
) -> tuple[Relation, ...]:
    values = read_sequences(session, [(schema, name) for schema, name, _ in named])
    return tuple(
        Relation(first_id + n, "sequence", schema, name, owner, last_value=str(last), is_called=called)
        for n, ((schema, name, owner), (last, called)) in enumerate(zip(named, values, strict=True))
    )


def read_sequences(session: Session, named: Sequence[tuple[str, str]]) -> list[tuple[int, bool]]:
    """(last_value, is_called) of each sequence, in the order given."""
    values: list[tuple[int, bool]] = []
    for start in range(0, len(named), SEQUENCE_BATCH):
        selects = (
            f"SELECT {number} AS n, last_value, is_called FROM {qualified(schema, name)}"
            for number, (schema, name) in enumerate(named[start : start + SEQUENCE_BATCH])
        )
        rows = session.run(f"{' UNION ALL '.join(selects)} ORDER BY n")
        values += [(row[1], row[2]) for row in rows]
    return values
