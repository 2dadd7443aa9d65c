"""What a database consists of beside rows: counted at the source and again in a restored copy.

And what it needs of a server: things that a build of PostgreSQL may lack.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from coffre.databases.postgresql.connection import Session


def _mine(oid: str, catalog: str) -> str:
    """The condition for an object of the user's own: not in a system schema, not part of an extension."""
    return f"""left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = {oid} AND d.deptype = 'e'
                        AND d.classid = '{catalog}'::regclass)"""


def _relations(kind: str, condition: str = "true") -> str:
    """Permanent relations of one kind."""
    return f"""pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = '{kind}' AND c.relpersistence <> 't' AND {condition}
        AND {_mine("c.oid", "pg_class")}"""


_OF_TABLE = f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_mine('c.oid', 'pg_class')}"
_COUNTS = {
    "tables": _relations("r"),
    "partitioned_tables": _relations("p"),
    "views": _relations("v"),
    "sequences": _relations("S"),
    "materialized_views": _relations("m"),
    "populated_materialized_views": _relations("m", "c.relispopulated"),
    "valid_indexes": f"""pg_index i JOIN pg_class c ON c.oid = i.indexrelid {_OF_TABLE}
        AND i.indisvalid AND c.relpersistence <> 't'""",
    "constraints": f"""pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
        WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND {_mine("k.conrelid", "pg_class")}
        AND {_mine("k.contypid", "pg_type")}""",
    "triggers": f"pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid {_OF_TABLE} AND NOT t.tgisinternal",
    "policies": f"pg_policy p JOIN pg_class c ON c.oid = p.polrelid {_OF_TABLE}",
    "functions": f"""pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE {_mine("p.oid", "pg_proc")}""",
    "types": f"""pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE t.typtype IN ('c', 'd', 'e', 'r') AND {_mine("t.oid", "pg_type")}
        AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c')""",
    "large_objects": "pg_largeobject_metadata",
}

_COLLATIONS = """
SELECT DISTINCT format('%I.%I', n.nspname, l.collname)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_collation l ON l.oid = a.attcollation
JOIN pg_namespace n ON n.oid = l.collnamespace
WHERE a.attcollation <> 0 AND l.collprovider <> 'd' AND l.collname NOT IN ('C', 'POSIX', 'ucs_basic')
  AND n.nspname = 'pg_catalog' AND c.relnamespace <> 'pg_catalog'::regnamespace
  AND c.relnamespace <> 'information_schema'::regnamespace AND c.relkind <> 't' AND c.relpersistence <> 't'
"""

_LIBRARIES = f"""
SELECT DISTINCT p.probin::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.probin IS NOT NULL AND {_mine("p.oid", "pg_proc")}
"""

_USES_XML = """
SELECT EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  WHERE a.atttypid IN ('xml'::regtype, 'xml[]'::regtype) AND NOT a.attisdropped
  AND c.relkind IN ('r', 'p', 'm')
  AND c.relnamespace NOT IN ('information_schema'::regnamespace, 'pg_catalog'::regnamespace))
"""

_USES_LZ4 = """
SELECT EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  WHERE a.attcompression = 'l' AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'm'))
"""

_OWN_ICU = """
SELECT EXISTS (SELECT FROM pg_collation
  WHERE collprovider = 'i' AND collnamespace <> 'pg_catalog'::regnamespace)
"""
_HAS_ICU = "SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')"
_HAS_LZ4 = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
_HAS_XML = (
    "SELECT EXISTS (SELECT FROM pg_config() WHERE name = 'CONFIGURE' AND setting LIKE '%--with-libxml%')"
)


def count_objects(session: Session) -> dict[str, int]:
    """The number of a user's objects by kind."""
    selects = ", ".join(f"(SELECT count(*) FROM {where})" for where in _COUNTS.values())
    return dict(zip(_COUNTS, map(int, session.run(f"SELECT {selects}")[0]), strict=True))


def list_needs(session: Session, provider: str) -> list[str]:
    """What a server must have to hold this database, beside extensions: ``kind:name`` each.

    Parameters
    ----------
    provider:
        The database's own collation provider: ``c``, ``i`` or ``b``.
    """
    needs = [f"collation:{row[0]}" for row in session.run(_COLLATIONS)]
    needs += [f"library:{row[0]}" for row in session.run(_LIBRARIES)]
    if provider == "i" or session.value(_OWN_ICU):
        needs.append("feature:icu")
    if session.value(_USES_XML):
        needs.append("feature:xml")
    if session.value(_USES_LZ4):
        needs.append("feature:lz4")
    return sorted(needs)


def missing_needs(session: Session, needs: Iterable[str], extensions: Iterable[str]) -> list[str]:
    """Those needs, and ``extension:name`` for those extensions, that this session's server can't fulfil."""
    available = {row[0] for row in session.run("SELECT name FROM pg_available_extensions")}
    missing = [f"extension:{name}" for name in extensions if name not in available]
    found = session.run(
        """SELECT format('%I.%I', n.nspname, l.collname)
           FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace"""
    )
    collations = {row[0] for row in found}
    probes: Mapping[str, str] = {"icu": _HAS_ICU, "lz4": _HAS_LZ4, "xml": _HAS_XML}
    for need in needs:
        kind, _, name = need.partition(":")
        fulfilled = name in collations if kind == "collation" else False
        if kind == "feature":
            fulfilled = bool(session.value(probes[name]))
        if not fulfilled:
            missing.append(need)
    return missing
