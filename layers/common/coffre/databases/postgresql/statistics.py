"""Statistics for the planner, which a restored database hasn't: of all tables but those with foreign parts.

ANALYZE of a partitioned table, or of one that others inherit from, reads samples of its parts, and would ask
other servers for those of foreign tables.  Sessions of ours don't.
Source: https://www.postgresql.org/docs/current/sql-analyze.html
"""

from __future__ import annotations

from coffre.databases.postgresql.connection import Session
from coffre.readable import first_of
from coffre.results import Finding

NAMED = 20

_WITH_FOREIGN_PARTS = """
WITH RECURSIVE above (oid) AS (
    SELECT i.inhparent FROM pg_inherits i JOIN pg_class f ON f.oid = i.inhrelid WHERE f.relkind = 'f'
    UNION SELECT i.inhparent FROM pg_inherits i JOIN above a ON a.oid = i.inhrelid)
"""
_TABLES = f"""
{_WITH_FOREIGN_PARTS}
SELECT n.nspname::text, c.relname::text, c.oid::int8
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
  AND n.nspname <> :without AND c.oid > :after AND c.oid NOT IN (SELECT oid FROM above)
ORDER BY c.oid LIMIT 500
"""
_OTHERS = f"{_WITH_FOREIGN_PARTS} SELECT oid::regclass::text FROM above ORDER BY 1"


def next_tables(session: Session, after: int, without: str = "") -> list[tuple[str, str, int]]:
    """The next tables to analyze: schema, name and OID, in the order of the latter.

    Parameters
    ----------
    after:
        The OID of the last one before; 0: from the first one on.
    without:
        A schema that isn't the user's.
    """
    rows = session.run(_TABLES, without=without, after=after)
    return [(str(schema), str(name), int(oid)) for schema, name, oid in rows]


def without_statistics(session: Session) -> list[Finding]:
    """The tables that have foreign parts."""
    names = [str(row[0]) for row in session.run(_OTHERS)]
    if not names:
        return []
    message = f"no statistics were gathered of {first_of(names, NAMED)}, which has foreign parts"
    return [
        Finding(
            level="info",
            code="statistics-left-out",
            object=names[0],
            message=message,
            advice="ANALYZE it: that asks the other server for a sample.",
            count=len(names),
        )
    ]
