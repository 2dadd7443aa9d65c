"""What a database consists of beside rows: counted at the source and again in a restored copy.

And what it needs of a server: things that a build of PostgreSQL may lack.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from coffre.databases.postgresql.absent import present
from coffre.databases.postgresql.connection import Session, literal
from coffre.errors import PrivilegesMissingError, QueryFailedError
from coffre.vault.manifest import Extension


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

SUPERUSER = "superuser:"
"""Needs that only a superuser fulfils.  A proof has none that the database's code may use."""

_COLLATIONS = """
SELECT DISTINCT format('%I.%I', n.nspname, l.collname)
FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
WHERE l.collprovider <> 'd' AND l.collname NOT IN ('C', 'POSIX', 'ucs_basic') AND n.nspname = 'pg_catalog'
  AND l.oid IN (
    SELECT a.attcollation FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace <> 'pg_catalog'::regnamespace AND c.relpersistence <> 't'
      AND c.relnamespace <> 'information_schema'::regnamespace AND c.relkind <> 't'
    UNION SELECT t.typcollation FROM pg_type t WHERE t.typnamespace NOT IN (
      'pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    UNION SELECT r.rngcollation FROM pg_range r)
"""

_LOCALES = """
SELECT DISTINCT name
FROM pg_collation l CROSS JOIN LATERAL (VALUES (l.collcollate), (l.collctype)) AS x (name)
WHERE l.collprovider = 'c' AND l.collnamespace <> 'pg_catalog'::regnamespace
  AND x.name NOT IN ('C', 'POSIX', '')
"""

# What CREATE accepts from a superuser alone, beside what comes with extensions.  A range type brings internal
# functions of its own, which depend on it, and every aggregate is of that language.
_FOR_SUPERUSERS = f"""
SELECT 'language ' || l.lanname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
  JOIN pg_namespace n ON n.oid = p.pronamespace WHERE NOT l.lanpltrusted AND p.prokind <> 'a'
    AND {_mine("p.oid", "pg_proc")}
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass
                    AND d.deptype = 'i')
UNION SELECT 'function ' || p.oid::regprocedure::text
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE (p.proleakproof OR p.prosupport <> 0) AND {_mine("p.oid", "pg_proc")}
UNION SELECT 'aggregate ' || p.oid::regprocedure::text
  FROM pg_aggregate a JOIN pg_proc p ON p.oid = a.aggfnoid JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE 'internal'::regtype IN (a.aggtranstype, a.aggmtranstype) AND {_mine("p.oid", "pg_proc")}
UNION SELECT 'type ' || t.oid::regtype::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
  WHERE NOT t.typisdefined AND {_mine("t.oid", "pg_type")}
UNION SELECT 'wrapper ' || w.fdwname FROM pg_foreign_data_wrapper w
  WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = w.oid AND d.deptype = 'e'
                    AND d.classid = 'pg_foreign_data_wrapper'::regclass)
UNION SELECT 'server file of ' || t.ftrelid::regclass::text FROM pg_foreign_table t
  JOIN pg_foreign_server s ON s.oid = t.ftserver JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
  WHERE w.fdwname = 'file_fdw'
UNION SELECT 'setting ' || s.name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  CROSS JOIN LATERAL unnest(p.proconfig) AS x (entry)
  JOIN pg_settings s ON s.name = split_part(x.entry, '=', 1) AND s.context = 'superuser'
  WHERE {_mine("p.oid", "pg_proc")}
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
_HAS_XML = "SELECT xmlparse(CONTENT '<a/>') IS NOT NULL"


def count_objects(session: Session, without: str | None = None) -> dict[str, int]:
    """The number of a user's objects by kind.

    Parameters
    ----------
    without:
        A schema that isn't the user's.
    """
    if without is None:
        return _count(session, _COUNTS)
    other = f" AND n.nspname <> {literal(without)}"
    kept = {kind: where + (other if "n.nspname" in where else "") for kind, where in _COUNTS.items()}
    return _count(session, kept)


def count_present(session: Session) -> dict[str, int]:
    """The valid constraints and indexes and the materialized views that rest on rows that are there alone.

    After `coffre.databases.postgresql.absent.AbsentRows.enter`.
    """
    resting = {
        "constraints": f"k.convalidated AND {present('k.conrelid', 'k.confrelid')}",
        "valid_indexes": present("i.indrelid"),
        "populated_materialized_views": present("c.oid"),
    }
    return _count(session, {kind: f"{_COUNTS[kind]} AND {where}" for kind, where in resting.items()})


def _count(session: Session, counts: Mapping[str, str]) -> dict[str, int]:
    selects = ", ".join(f"(SELECT count(*) FROM {where})" for where in counts.values())
    return dict(zip(counts, map(int, session.run(f"SELECT {selects}")[0]), strict=True))


def list_needs(session: Session, provider: str) -> list[str]:
    """What a server must have to hold this database, beside extensions: ``kind:name`` each.

    Parameters
    ----------
    provider:
        The database's own collation provider: ``c``, ``i`` or ``b``.
    """
    needs = [f"collation:{row[0]}" for row in session.run(_COLLATIONS)]
    needs += [f"library:{row[0]}" for row in session.run(_LIBRARIES)]
    needs += [f"locale:{row[0]}" for row in session.run(_LOCALES)]
    needs += [f"{SUPERUSER}{row[0]}" for row in session.run(_FOR_SUPERUSERS)]
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
    for need in needs:
        kind, _, name = need.partition(":")
        if not _PROBES.get(kind, _never)(session, name):
            missing.append(need)
    return missing


def missing_versions(session: Session, extensions: Iterable[Extension]) -> list[str]:
    """``extension:name`` of those that the server lacks, with the version of those that are too new for it.

    An older version than the server's own is no need: a restored database gets the server's.
    """
    newest = dict(session.run("SELECT name, default_version FROM pg_available_extensions"))
    known = {tuple(row) for row in session.run("SELECT name, version FROM pg_available_extension_versions")}
    missing = []
    for extension in extensions:
        if extension.name not in newest:
            missing.append(f"extension:{extension.name}")
        elif (extension.name, extension.version) not in known and _order(extension.version) > _order(
            newest[extension.name]
        ):
            missing.append(f"extension:{extension.name} {extension.version}")
    return missing


def _order(version: str) -> list[int]:
    """A version's numbers, to compare: PostgreSQL itself gives versions no order."""
    return [int(number) for number in re.findall(r"\d+", version)]


def _has_collation(session: Session, name: str) -> bool:
    """Whether it works: the catalogue may list a locale that this machine doesn't have."""
    return _works(session, f"SELECT 'a' COLLATE {name} < 'b'")


def _has_locale(session: Session, name: str) -> bool:
    """Whether the machine has a locale."""
    if not _works(session, f"CREATE COLLATION pg_temp.coffre_probe (LOCALE = {literal(name)})"):
        return False
    session.run("DROP COLLATION pg_temp.coffre_probe")
    return True


def _has_feature(session: Session, name: str) -> bool:
    probes = {"icu": _HAS_ICU, "lz4": _HAS_LZ4, "xml": _HAS_XML}
    return name in probes and _works(session, probes[name])


def _has_library(session: Session, name: str) -> bool:
    """Whether this role may load it: who may not can't create functions of it either.

    Source: https://www.postgresql.org/docs/current/sql-load.html
    """
    return _works(session, f"LOAD {literal(name)}")


def _is_superuser(session: Session, name: str) -> bool:
    del name
    return bool(session.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))


def _works(session: Session, statement: str) -> bool:
    try:
        return bool(session.value(statement)) or not statement.startswith("SELECT")
    except (PrivilegesMissingError, QueryFailedError):
        return False


def _never(session: Session, name: str) -> bool:
    del session, name
    return False


_PROBES: Mapping[str, Callable[[Session, str], bool]] = {
    "collation": _has_collation,
    "feature": _has_feature,
    "library": _has_library,
    "locale": _has_locale,
    "superuser": _is_superuser,
}
