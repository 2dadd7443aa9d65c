"""Databases of a server as they stand there: what belongs to their names, and which took whose place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from coffre.databases.postgresql.connection import Session, identifier, literal
from coffre.databases.postgresql.encodings import can_say, sayable
from coffre.databases.postgresql.roles import set_configuration
from coffre.databases.postgresql.target import MAINTENANCE
from coffre.errors import CoffreError
from coffre.results import Finding

RESERVED = frozenset({MAINTENANCE, "template0", "template1"})
_MARK = "coffre: "

_DATABASES = """
SELECT d.oid::int8, d.datname::text, pg_get_userbyid(d.datdba)::text, shobj_description(d.oid, 'pg_database'),
       d.datconnlimit, t.spcname::text, pg_has_role(current_user, d.datdba, 'MEMBER')
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
"""
_GRANTS = """
SELECT CASE WHEN a.grantee = 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END,
       a.privilege_type, a.is_grantable
FROM pg_database d, aclexplode(d.datacl) a WHERE d.oid = {oid} ORDER BY 1, 2
"""
_SETTINGS = """
SELECT coalesce(r.rolname::text, ''), unnest(s.setconfig)
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = {oid} ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Standing:
    """A database of a server.

    Attributes
    ----------
    comment:
        As the session can say it.
    connections:
        Its connection limit; -1 for none.
    ours:
        Whether the session's role owns it or is a member of its owner.
    escaped:
        Whether the session can't say its comment as it is, because that is in another encoding.
    """

    oid: int
    name: str
    owner: str
    comment: str | None
    connections: int
    tablespace: str
    ours: bool
    escaped: bool = False


@dataclass(frozen=True)
class Mark:
    """What the comment of a database that was put aside says: a line of JSON after the owner's own comment.

    Attributes
    ----------
    database:
        The name that it bore.
    oid:
        Its own OID: a copy made from it as a template has another one.
    replaced_by:
        OID of the database that got the name.
    at:
        When; UTC.
    by:
        ``swap``: it was replaced by a restored one; ``undo``: it was a restored one and was replaced again.
    """

    database: str
    oid: int
    replaced_by: int
    at: str
    by: str


def find(session: Session, name: str) -> Standing | None:
    """The database of that name, or None."""
    rows = session.run(f"{_DATABASES} WHERE d.datname = {literal(name)}")
    return _standing(session, rows[0]) if rows else None


def put_aside(session: Session, name: str) -> list[tuple[Standing, Mark]]:
    """The databases that bore ``name`` and were put aside, newest first."""
    rows = session.run(f"{_DATABASES} WHERE shobj_description(d.oid, 'pg_database') IS NOT NULL")
    found = [(_standing(session, row), read_mark(row[3])) for row in rows]
    marked = [(one, mark) for one, mark in found if mark and (mark.database, mark.oid) == (name, one.oid)]
    return sorted(marked, key=lambda pair: pair[1].at, reverse=True)


def _standing(session: Session, row: list[Any]) -> Standing:
    found = Standing(*row)
    comment = found.comment and sayable(found.comment, session.encoding)
    return replace(found, comment=comment, escaped=comment != found.comment)


def nameless_of(session: Session, standing: Standing) -> list[str]:
    """The database's owner and whoever has rights on it, where this session can't say their names."""
    names = [standing.owner, *(row[0] for row in session.run(_GRANTS.format(oid=standing.oid)))]
    return [name for name in dict.fromkeys(names) if not can_say(name, session.encoding)]


def comment_escaped(standing: Standing) -> list[Finding]:
    """That bytes of a database's comment will be written out, if they will."""
    message = (
        f"the comment of {standing.name} isn't in the encoding of the server's maintenance database: "
        "its bytes are written out"
    )
    advice = "Set it again in a session with the database itself."
    found = Finding(
        level="warn", code="comment-escaped", object=standing.name, message=message, advice=advice
    )
    return [found] if standing.escaped else []


def write_mark(comment: str | None, mark: Mark) -> str:
    """A comment with the mark added to it."""
    own = without_mark(comment)
    return f"{own}\n{_MARK}{json.dumps(asdict(mark))}" if own else f"{_MARK}{json.dumps(asdict(mark))}"


def read_mark(comment: str | None) -> Mark | None:
    """The mark in a comment; None if there is none, or it isn't readable."""
    line = (comment or "").rpartition("\n")[2]
    if not line.startswith(_MARK):
        return None
    try:
        found = Mark(**json.loads(line.removeprefix(_MARK)))
    except (ValueError, TypeError):
        return None
    whole = isinstance(found.oid, int) and isinstance(found.replaced_by, int)
    return found if whole and isinstance(found.at, str) else None


def without_mark(comment: str | None) -> str | None:
    """The owner's own comment."""
    if comment is None or not comment.rpartition("\n")[2].startswith(_MARK):
        return comment
    return comment.rpartition("\n")[0] or None


def mark_whole(comment: str | None, attempt: str) -> str:
    """A comment that says that a restored database lacks nothing but its name; it goes with the renaming."""
    own = without_mark(comment)
    line = f"{_MARK}{json.dumps({'whole': attempt})}"
    return f"{own}\n{line}" if own else line


def is_whole(comment: str | None, attempt: str) -> bool:
    """Whether a comment says so."""
    return comment is not None and comment == mark_whole(comment, attempt)


def dated(name: str, what: str, moment: datetime) -> str:
    """``<name>_<what>_<UTC time>``, cut to PostgreSQL's 63 bytes: ``shop_before_20261120T231500Z``."""
    end = f"_{what}_{moment.astimezone(UTC).strftime('%Y%m%dT%H%M%SZ')}"
    return name.encode()[: 63 - len(end)].decode("utf-8", "ignore") + end


def carry_over(session: Session, source: Standing, name: str) -> list[Finding]:
    """Give database ``name`` what belongs to the name of ``source``: owner, limit, comment, grants, settings.

    Returns
    -------
    list of Finding
        Settings that this role may not set.

    Raises
    ------
    CoffreError
        If owner, limit, comment or grants can't be given.
    """
    session.run("BEGIN")
    for statement in _belongings(session, source, name):
        session.run(statement)
    session.run("COMMIT")
    findings = []
    for role, setting in session.run(_SETTINGS.format(oid=source.oid)):
        subject = f"DATABASE {identifier(name)}"
        where = f"ROLE {identifier(role)} IN {subject}" if role else subject
        try:
            session.run(set_configuration(where, setting))
        except CoffreError as error:  # told without the value, which may be secret
            shown = f"ALTER {where} SET {identifier(setting.partition('=')[0])}"
            findings.append(
                Finding(level="warn", code="setting-not-carried", object=shown, message=error.message)
            )
    return findings


def _belongings(session: Session, source: Standing, name: str) -> Iterator[str]:
    subject = f"DATABASE {identifier(name)}"
    yield f"ALTER {subject} OWNER TO {identifier(source.owner)}"
    yield f"ALTER {subject} CONNECTION LIMIT {source.connections}"
    comment, own = without_mark(source.comment), find(session, name)
    if comment is not None:
        line = own.comment.rpartition("\n")[2] if own is not None and own.comment else ""
        kept = f"{comment}\n{line}" if line.startswith(_MARK) else comment
        yield f"COMMENT ON {subject} IS {literal(kept)}"
    if not session.value(f"SELECT datacl IS NOT NULL FROM pg_database WHERE oid = {source.oid}"):
        return  # PostgreSQL's own defaults
    for grantee in ("PUBLIC", identifier(source.owner)):
        yield f"REVOKE ALL ON {subject} FROM {grantee}"
    for grantee, privilege, grantable in session.run(_GRANTS.format(oid=source.oid)):
        option = " WITH GRANT OPTION" if grantable else ""
        to = identifier(grantee) if grantee else "PUBLIC"
        yield f"GRANT {privilege} ON {subject} TO {to}{option}"
