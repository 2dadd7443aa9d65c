"""What a database holds, as the server itself tells by SQL; no code of Coffre takes part in comparing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.sql import Place, session

# A child by inheritance is read by itself; a partitioned table for all its partitions.
_RELATIONS = """
SELECT c.oid::regclass::text, CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END, c.relkind IN ('r', 'p')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
  AND left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
ORDER BY 1
"""

# The sum of the rows' hashes doesn't depend on their order.
_ROWS = """
SELECT count(*), sum(('x' || left(md5("a whole row"::text), 15))::bit(60)::bigint)::text
FROM {only}{relation} AS "a whole row"
"""

_SEQUENCES = """
SELECT format('sequence %I.%I', schemaname, sequencename), format('%s of %s', last_value, s::text)
FROM pg_sequences s
"""

_LARGE_OBJECTS = "SELECT format('large object %s', oid), md5(lo_get(oid)) FROM pg_largeobject_metadata"

_USER_SCHEMAS = (
    "(SELECT oid FROM pg_namespace WHERE left(nspname, 3) <> 'pg_' AND nspname <> 'information_schema')"
)

_DEFINITIONS = {
    "column": f"""
        SELECT format('%s.%I', attrelid::regclass, attname),
               concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
                         pg_get_expr(adbin, adrelid), attacl)
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
          AND relnamespace IN {_USER_SCHEMAS}""",
    "constraint": f"""
        SELECT format('%s %s %I', conrelid::regclass, contypid::regtype, conname), pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace IN {_USER_SCHEMAS}""",
    "index": f"""
        SELECT c.oid::regclass::text, pg_get_indexdef(c.oid) FROM pg_class c
        WHERE relkind IN ('i', 'I') AND relnamespace IN {_USER_SCHEMAS}""",
    "view": f"""
        SELECT c.oid::regclass::text, pg_get_viewdef(c.oid) FROM pg_class c
        WHERE relkind IN ('v', 'm') AND relnamespace IN {_USER_SCHEMAS}""",
    "function": f"""
        SELECT oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc
        WHERE prokind IN ('f', 'p') AND pronamespace IN {_USER_SCHEMAS}""",
    "trigger": """
        SELECT format('%s %I', tgrelid::regclass, tgname), pg_get_triggerdef(oid)
        FROM pg_trigger WHERE NOT tgisinternal""",
    "policy": """
        SELECT format('%I.%I %I', schemaname, tablename, policyname), p::text FROM pg_policies p""",
    "enum": f"""
        SELECT enumtypid::regtype::text, string_agg(enumlabel, ',' ORDER BY enumsortorder)
        FROM pg_enum JOIN pg_type t ON t.oid = enumtypid WHERE typnamespace IN {_USER_SCHEMAS} GROUP BY 1""",
    # A list of privileges that is missing stands for the default one.
    "grants on": f"""
        SELECT c.oid::regclass::text, format('%s: %s', relowner::regrole, (
                   SELECT string_agg(acl::text, ',' ORDER BY acl::text)
                   FROM unnest(coalesce(relacl, acldefault(kind, relowner))) AS acl))
        FROM pg_class c, LATERAL (SELECT CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char") AS k (kind)
        WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relnamespace IN {_USER_SCHEMAS}""",
    "comment on": """
        SELECT pg_describe_object(classoid, objoid, objsubid), description FROM pg_description
        WHERE objoid >= 16384""",
}


@dataclass(frozen=True)
class Content:
    """A database's content.

    Attributes
    ----------
    rows:
        For each relation its number of rows and the sum of their hashes.
    tables:
        How many of the relations are tables; the others are materialized views.
    table_rows:
        Rows in tables.
    objects:
        Everything else by name: sequences, large objects, definitions, owners and grants, comments.
    """

    rows: Mapping[str, tuple[int, str]]
    tables: int
    table_rows: int
    objects: Mapping[str, str]


def content_of(place: Place, database: str) -> Content:
    """Read a database's content."""
    rows: dict[str, tuple[int, str]] = {}
    objects: dict[str, str] = {}
    tables = table_rows = 0
    with session(place, database) as connection:
        connection.run("SET search_path = ''; SET timezone = 'UTC'; SET row_security = off")
        for relation, only, is_table in connection.run(_RELATIONS):
            count, hashes = connection.run(_ROWS.format(only=only, relation=relation))[0]
            rows[relation] = (count, hashes or "")
            tables += is_table
            table_rows += count if is_table else 0
        objects |= dict(connection.run(_SEQUENCES)) | dict(connection.run(_LARGE_OBJECTS))
        for kind, query in _DEFINITIONS.items():
            objects |= {f"{kind} {name}": definition for name, definition in connection.run(query)}
    return Content(rows, tables, table_rows, objects)


def differences(expected: Content, found: Content) -> list[str]:
    """What isn't equal, as sentences; none if all is."""
    return [*_compare(expected.rows, found.rows), *_compare(expected.objects, found.objects)]


def _compare(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    told = [f"{name}: missing" for name in expected if name not in found]
    told += [f"{name}: not expected" for name in found if name not in expected]
    for name, value in expected.items():
        if name in found and found[name] != value:
            told.append(f"{name}: {found[name]} instead of {value}")
    return told
