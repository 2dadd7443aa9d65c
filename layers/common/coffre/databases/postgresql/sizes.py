"""How much room the relations of a database take."""

from __future__ import annotations

from coffre.databases.postgresql.connection import Session

# A loader's temporary table may go at this moment, and has no size then.
_SIZES = """
SELECT n.nspname::text, c.relname::text, pg_table_size(c.oid), pg_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
UNION ALL
SELECT n.nspname::text, c.relname::text, sum(pg_table_size(l.relid))::int8, max(pg_relation_size(l.relid))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL pg_partition_tree(c.oid) l
WHERE c.relkind = 'p' AND l.isleaf GROUP BY 1, 2
"""


def stored_relations(session: Session) -> dict[tuple[str, str], tuple[int, int]]:
    """Bytes of each table by schema and name: with all that belongs to its rows, and of its heap alone.

    Of a partitioned table the first is the sum over its leaves, the second the largest one's.
    """
    return {(schema, name): (int(size), int(heap)) for schema, name, size, heap in session.run(_SIZES)}
