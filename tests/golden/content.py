"""What a database holds, asked in SQL: independent of the format and of the code that reads it."""

from __future__ import annotations

import hashlib

from coffre.databases.postgresql.connection import open_session, qualified
from coffre.databases.postgresql.target import Target

_LARGE_OBJECTS = """
SELECT m.oid::bigint, pg_get_userbyid(m.lomowner), obj_description(m.oid, 'pg_largeobject'),
       CASE WHEN m.lomacl IS NOT NULL
            THEN (SELECT coalesce(string_agg(a::text, ' ' ORDER BY a::text), '') FROM unnest(m.lomacl) a) END
FROM pg_largeobject_metadata m
"""

Content = dict[str, list[str]]
MOST = 1000
"""Hexadecimal digits of a large object that are written down; of a longer one their hash."""

_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
  AND left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
"""
_SEQUENCES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S'
"""
# Those that aren't what GRANT gives by itself; several of the same roles are one.
_MEMBERSHIPS = """
SELECT r.rolname, g.rolname, bool_or(m.admin_option), bool_or(m.inherit_option), bool_or(m.set_option)
FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
WHERE r.oid >= 16384 AND g.oid >= 16384
GROUP BY r.rolname, g.rolname, r.rolinherit
HAVING bool_or(m.admin_option) OR bool_or(m.inherit_option) <> r.rolinherit OR NOT bool_or(m.set_option)
"""


def content(target: Target) -> Content:
    """All rows as text, all sequences, all large objects, sorted, and all memberships with options, by name.

    Partitions show in their root: hashes of an enum's values differ from one database to the next.
    """
    found: Content = {}
    with open_session(target, seconds=60) as session:
        for schema, name in session.run(_TABLES):
            rows = session.run(f"SELECT x::text FROM {qualified(schema, name)} AS x")
            found[f"table {schema}.{name}"] = sorted(row[0] for row in rows)
        for schema, name in session.run(_SEQUENCES):
            value = session.run(f"SELECT last_value, is_called FROM {qualified(schema, name)}")
            found[f"sequence {schema}.{name}"] = [str(part) for part in value[0]]
        for number, owner, *said in session.run(_LARGE_OBJECTS):
            body = session.value(f"SELECT encode(lo_get({number}), 'hex')")
            body = body if len(body) < MOST else hashlib.sha256(body.encode()).hexdigest()
            found[f"large object {number}"] = [owner, body, *(one for one in said if one is not None)]
        for member, group, admin, inherits, becomes in session.run(_MEMBERSHIPS):
            held = {"admin": admin, "inherit": inherits, "set": becomes}
            found[f"membership of {member} in {group}"] = [what for what, there in held.items() if there]
    return found
