"""Rights that owners need while an ordinary role hands objects over to them.

Nobody but a superuser may give an object to a role that couldn't make it where it lies; and grants come back
last, or the owner had the right once and has it no more.  So from the moment when the schemas are there until
the grants come, owners may create in them.
Source: https://www.postgresql.org/docs/current/sql-altertable.html (OWNER TO), and the same of other kinds
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from coffre.databases.postgresql.connection import Session, identifier, literal
from coffre.databases.postgresql.notes import Notes
from coffre.databases.postgresql.role_map import OWNERLESS
from coffre.databases.postgresql.toc import TocEntry

Right = tuple[str, str]
"""A schema and a role that may create in it; the schema is empty for the database itself."""

OPENED = "opened"
"""The fact under which a restore on the state machine notes what it gave."""

BATCH = 500
IN_DATABASE = frozenset({"PUBLICATION"})
"""What lies in no schema and is made by whoever may create in the database."""

# What isn't ours to give is left alone: whoever owns it may have granted it.
_LACKING = """
SELECT w.place, w.role FROM (VALUES {wanted}) AS w (place, role)
JOIN pg_roles r ON r.rolname::text = w.role LEFT JOIN pg_namespace n ON n.nspname::text = w.place
CROSS JOIN (SELECT oid, datdba FROM pg_database WHERE datname = current_database()) d
WHERE CASE WHEN w.place = ''
  THEN pg_has_role(d.datdba, 'USAGE') AND NOT has_database_privilege(r.oid, d.oid, 'CREATE')
  ELSE n.oid IS NOT NULL AND pg_has_role(n.nspowner, 'USAGE')
    AND NOT has_schema_privilege(r.oid, n.oid, 'CREATE')
END ORDER BY 1, 2
"""


def owners_rights(toc: Iterable[TocEntry]) -> list[Right]:
    """What the owners of these entries need."""
    found = {
        (entry.schema, entry.owner)
        for entry in toc
        if entry.owner
        and entry.description not in OWNERLESS
        and (entry.schema or entry.description in IN_DATABASE)
    }
    return sorted(found)


def open_to_owners(session: Session, rights: Sequence[Right]) -> list[Right]:
    """Give those of these rights that are lacking; what was given, for `close_again`."""
    given: list[Right] = []
    for start in range(0, len(rights), BATCH):
        some = rights[start : start + BATCH]
        wanted = ", ".join(f"({literal(place)}, {literal(role)})" for place, role in some)
        rows = session.run(_LACKING.format(wanted=wanted)) if wanted else []
        given += [(str(place), str(role)) for place, role in rows]
    for place, role in given:
        session.run(f"GRANT CREATE ON {_place(session, place)} TO {identifier(role)}")
    return given


def close_again(session: Session, given: Iterable[Right]) -> None:
    """Take back what `open_to_owners` gave; done again it changes nothing."""
    for place, role in given:
        session.run(f"REVOKE CREATE ON {_place(session, place)} FROM {identifier(role)}")


def close_noted(session: Session, notes: Notes) -> None:
    """Take back what a restore's notes say that it gave, once."""
    given = json.loads(notes.fact(OPENED) or "[]")
    if given:
        session.run("BEGIN")
        close_again(session, given)
        notes.note(OPENED, "[]")
        session.run("COMMIT")


def _place(session: Session, place: str) -> str:
    if place:
        return f"SCHEMA {identifier(place)}"
    return f"DATABASE {identifier(str(session.value('SELECT current_database()::text')))}"
