"""Restoring what follows the rows where some tables have none: what reads those is named and proves nothing.

A foreign key to such a table comes back as NOT VALID.  A materialized view that reads one is refreshed if
that works, and its rows say nothing either way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from coffre.databases.postgresql.absent import AbsentRows, Name, loose_foreign_keys, reading
from coffre.databases.postgresql.complaints import Complaint
from coffre.databases.postgresql.connection import Session, literal
from coffre.databases.postgresql.exceptions import KINDS, TABLE, Exceptions, add_not_valid
from coffre.databases.postgresql.schema import SchemaArchive
from coffre.readable import first_of
from coffre.results import Finding

_REFRESH = re.compile(rf"^REFRESH MATERIALIZED VIEW ({TABLE});$", re.MULTILINE)
_NAMED = 20
_ROWS_OF_VIEW = "MATERIALIZED VIEW DATA"

# Through views, and through parents of foreign tables; not through functions, whose text depends on nothing.
_READING_FOREIGN = """
WITH RECURSIVE reading (by, what) AS (
    SELECT DISTINCT r.ev_class, d.refobjid FROM pg_rewrite r JOIN pg_depend d ON d.objid = r.oid
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid <> r.ev_class
    UNION ALL SELECT inhparent, inhrelid FROM pg_inherits
), far (oid) AS (
    SELECT oid FROM pg_class WHERE relkind = 'f'
    UNION SELECT r.by FROM far JOIN reading r ON r.what = far.oid
) SELECT n.nspname, c.relname FROM far JOIN pg_class c ON c.oid = far.oid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm'
"""
_COMMENT = "COMMENT"


def refresh_in_turn(
    archive: SchemaArchive, session: Session, absent: AbsentRows
) -> tuple[Exceptions, list[Complaint]]:
    """Refresh materialized views one by one, and look at what each reads.

    Returns
    -------
    tuple
        Those that read absent rows, which are entered in ``absent``; and what the server said against others.
    """
    named, complaints = Exceptions(), list[Complaint]()
    entries = archive.refreshes()
    scripts = archive.scripts((entry.dump_id for entry in entries), session.python_encoding)
    for entry in entries:
        statement = scripts.get(entry.dump_id, "")
        attempt = absent.attempt(session, statement)
        if attempt.read:
            view = _view(session, statement)
            absent.add_view(view, populated=attempt.error is None)
            named.missing.update(KINDS[entry.description] if attempt.error else ())
            message = f"the rows of {'.'.join(view)} say nothing: {reading(attempt.read)}"
            named.findings.append(_unproven("unproven-materialized-view", ".".join(view), message))
        elif attempt.error is not None:
            complaints.append(Complaint(entry, attempt.error.message))
    return named, complaints


def _view(session: Session, statement: str) -> Name:
    found = _REFRESH.search(statement)
    name = literal(found[1] if found else "")
    row = session.run(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.oid = {name}::regclass"
    )[0]
    return row[0], row[1]


def excuse(
    archive: SchemaArchive,
    complaints: Sequence[Complaint],
    session: Session,
    absent: AbsentRows,
    objects: Mapping[str, int],
) -> tuple[Exceptions, list[Complaint]]:
    """Try again what could not be restored, and look at what it reads.

    Parameters
    ----------
    objects:
        How many of each kind the source has.

    Returns
    -------
    tuple
        What absent rows may be to blame for, and the complaints that they have no part in.
    """
    named, rest, lost = Exceptions(), list[Complaint](), False
    scripts = archive.scripts((complaint.dump_id for complaint in complaints), session.python_encoding)
    # A comment may only have lacked the foreign key that it is on.
    for complaint in sorted(complaints, key=lambda complaint: complaint.entry.description == _COMMENT):
        entry, statement = complaint.entry, scripts.get(complaint.dump_id, "")
        attempt = absent.attempt(session, statement)
        if attempt.error is None or (lost and entry.description == _COMMENT):
            continue
        if not attempt.read:
            rest.append(complaint)
            continue
        if entry.description == "FK CONSTRAINT":
            kept = add_not_valid(session, statement)
            if kept and attempt.told:
                continue  # it is among those that `name_foreign_keys` names
            if not kept:
                # Up to PostgreSQL 17 partitioned tables have none, and each partition's is missing as well.
                lost, named.missing["constraints"] = True, objects.get("constraints", 0)
        else:
            named.missing.update(KINDS.get(entry.description, ()))
        message = f"{entry.description} {entry.name} can't be checked: {reading(attempt.read)}"
        named.findings.append(_unproven("unproven-object", f"{entry.description} {entry.name}", message))
    return named, rest


def excuse_foreign(
    archive: SchemaArchive, complaints: Sequence[Complaint], session: Session
) -> tuple[Exceptions, list[Complaint]]:
    """Materialized views that weren't refreshed and read foreign tables: a proof's server reaches no other.

    Returns
    -------
    tuple
        Those, and the complaints about others.
    """
    views = [complaint for complaint in complaints if complaint.entry.description == _ROWS_OF_VIEW]
    far = {(str(row[0]), str(row[1])) for row in session.run(_READING_FOREIGN)} if views else set()
    if not far:
        return Exceptions(), list(complaints)
    named, rest = Exceptions(), list[Complaint]()
    scripts = archive.scripts((complaint.dump_id for complaint in views), session.python_encoding)
    for complaint in complaints:
        view = _view(session, scripts[complaint.dump_id]) if complaint in views else None
        if view not in far:
            rest.append(complaint)
            continue
        named.missing.update(KINDS[_ROWS_OF_VIEW])
        label = ".".join(view)
        message = f"{label} reads foreign tables, and a proof reaches no other server: {complaint.message}"
        named.findings.append(_unproven("unproven-materialized-view", label, message))
    return named, rest


def name_foreign_keys(session: Session) -> list[Finding]:
    """The foreign keys that no rows were checked against, in one finding; after `AbsentRows.enter`."""
    keys = loose_foreign_keys(session)
    if not keys:
        return []
    message = (
        f"{len(keys)} foreign keys lead from or to tables whose rows were not restored, and were checked "
        f"against nothing: {first_of(keys, _NAMED)}"
    )
    found = _unproven("unproven-foreign-keys", keys[0], message)
    return [found.model_copy(update={"count": len(keys)})]


def _unproven(code: str, what: str, message: str) -> Finding:
    return Finding(level="warn", code=code, object=what, message=message)
