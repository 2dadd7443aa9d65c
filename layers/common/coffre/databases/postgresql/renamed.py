"""What changes under a snapshot without a lock that the snapshot's holder could stand against.

Servers look up names, and the labels of enums, as they are now, whatever a transaction's snapshot shows.  A
schema is renamed without a lock on its tables: where two exchange their names, a reader finds the rows of one
under the name of the other.  A label of an enum that is renamed is so in all rows at once, and the attributes
of a composite type that come or go do likewise, while the schema is dumped as the snapshot shows it.
Source: https://www.postgresql.org/docs/current/mvcc-caveats.html
"""

from __future__ import annotations

from coffre.databases.postgresql.connection import Session

# What the snapshot calls it, and what it is called now: a name cast from an oid is looked up.  One that was
# dropped, which needs the locks of its tables, gives its number.
_SCHEMAS = """
SELECT 'schema ' || quote_ident(nspname) FROM pg_namespace
WHERE left(nspname, 3) <> 'pg_' AND oid::regnamespace::text NOT IN (quote_ident(nspname), oid::text)
"""

# A catalogue's row that the snapshot shows, and that a transaction changed which has committed by now, was
# changed afterwards; xmax keeps that transaction, even if another one put all back.  Its full number, which
# pg_xact_status wants, is counted from the snapshot's oldest.
_OLDEST = "pg_snapshot_xmin(pg_current_snapshot())"
_SINCE = f"""CASE WHEN {{row}}.xmax <> 0 AND age({{row}}.xmax) <= age({_OLDEST}::xid)
    THEN pg_xact_status(({_OLDEST}::text::bigint + age({_OLDEST}::xid) - age({{row}}.xmax))::text::xid8)
         = 'committed' END"""

_TYPES = f"""
SELECT DISTINCT format('type %I.%I', n.nspname, t.typname)
FROM (SELECT e.enumtypid AS id FROM pg_enum e WHERE {_SINCE.format(row="e")}
      UNION ALL
      SELECT c.reltype FROM pg_class c WHERE c.relkind = 'c' AND {_SINCE.format(row="c")}
      UNION ALL
      SELECT c.reltype FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
      WHERE c.relkind = 'c' AND {_SINCE.format(row="a")}) changed
JOIN pg_type t ON t.oid = changed.id JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE left(n.nspname, 3) <> 'pg_' AND t.oid::regtype::text <> t.oid::text
"""


def renamed_since(session: Session) -> list[str]:
    """The schemas, enums and composite types that aren't (any more) what the session's snapshot shows.

    A schema that got its name back isn't found: look now and then.
    """
    return sorted(str(row[0]) for row in session.run(f"{_SCHEMAS} UNION ALL {_TYPES}"))
