"""What belongs to a restored database itself: its comment, its settings, its owner and its grants.

A database that takes another one's place gets that one's, with its name (`coffre.restore.swap`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.database_rights import (
    DatabaseRights,
    give_database,
    give_grants,
    rights_of,
)
from coffre.databases.postgresql.encodings import can_say, recoded
from coffre.databases.postgresql.preloading import usable_settings
from coffre.databases.postgresql.roles import database_statements
from coffre.events.restore import RestoreRequest
from coffre.restore.attempts import attempt, batches
from coffre.restore.roles import NeededRoles
from coffre.results import Finding
from coffre.vault.parts import DatabaseRecord

# Of the session's database, which isn't the one that is meant where that isn't there yet: it will belong to
# the session's role.
_MAY = """
SELECT coalesce(pg_get_userbyid(d.datdba), r.rolname)::text,
       pg_has_role(r.oid, coalesce(d.datdba, r.oid), 'USAGE'), r.rolcreatedb OR r.rolsuper
FROM pg_roles r LEFT JOIN pg_database d ON d.datname = current_database() AND :there
WHERE r.rolname = current_user
"""
_ROLES = "SELECT rolname::text, pg_has_role(current_user, oid, 'USAGE') FROM pg_roles"
MOST_GRANTEES = 2000
"""Each takes a lock, and all are given or taken together, so that the restoring role isn't locked out."""

_STILL_OURS = """
SELECT has_database_privilege(current_user, oid, 'CONNECT') AND pg_has_role(current_user, datdba, 'USAGE')
FROM pg_database WHERE datname = current_database()
"""


def named_roles(record: DatabaseRecord | None) -> set[str]:
    """The source's roles that the record gives rights to."""
    if record is None:
        return set()
    rights = rights_of(record, {})
    return {rights.owner, *rights.grantees}


def plan_belongings(
    session: Session,
    record: DatabaseRecord | None,
    role_map: Mapping[str, str],
    needed: NeededRoles,
    *,
    encoding: str,
    creates: bool,
    replaces: bool,
) -> list[Finding]:
    """What of the source's owner and grants the restored database won't have.

    Parameters
    ----------
    session:
        With the database, or with any one of its server where that isn't there yet.
    needed:
        The roles that will be there then.
    encoding:
        The backup's.
    creates:
        Whether the database isn't there yet.
    replaces:
        Whether it takes the place of another one.
    """
    if record is None:
        return []
    rights = rights_of(record, role_map)
    if replaces:
        without = sorted(set(needed.created) & set(rights.grantees))
        message = "rights on the database are those of the one in place, none of which is granted to {}"
        advice = "GRANT CONNECT, for example, after the restore."
        return [_left_out("grants", message.format(", ".join(without)), advice)] if without else []
    expected = [*needed.created, *needed.join]
    return _without(rights, _may(session, rights, encoding, expected, there=not creates))


def give_belongings(
    session: Session,
    record: DatabaseRecord | None,
    request: RestoreRequest,
    name: str,
    created: Collection[str],
) -> list[Finding]:
    """Give a database that is restored, but for its name, what belongs to it; done again it changes nothing.

    Parameters
    ----------
    session:
        With the database.
    created:
        The roles that the restore created: what the database replaces has no settings of theirs.

    Returns
    -------
    list of Finding
        What this role may not give, or what would take the database from it before it has its name.
    """
    if record is None:
        return []
    role_map, name = request.role_map, recoded(name, "UTF8", session.encoding)
    settings = tuple((role_map.get(role, role), setting) for role, setting in record.settings)
    if request.mode == "swap":
        theirs = tuple((role, setting) for role, setting in settings if role in created)
        return _apply_settings(session, replace(record, comment=None, settings=theirs), name)
    findings = _apply_settings(session, replace(record, settings=settings), name)
    if request.roles == "keep":
        findings += _apply_rights(session, rights_of(record, role_map), name)
    return findings


def _apply_settings(session: Session, record: DatabaseRecord, name: str) -> list[Finding]:
    settings, findings = usable_settings(session, record.settings)
    for statements in batches(database_statements(replace(record, settings=tuple(settings)), name)):
        session.run("BEGIN")
        findings += attempt(session, statements, "setting-not-restored")
        session.run("COMMIT")
    return findings


def _apply_rights(session: Session, rights: DatabaseRights, name: str) -> list[Finding]:
    may = _may(session, rights, session.encoding, (), there=True)
    findings = _without(rights, may)
    if not may.ours:
        return findings
    session.run("BEGIN")
    given = [give_database(name, rights.owner)] if may.hand_over else []
    findings += attempt(session, given, "right-not-restored")
    owner = str(session.run(_MAY, there=True)[0][0])
    if len(rights.grantees) <= MOST_GRANTEES:
        findings += attempt(session, give_grants(rights, name, owner, may.roles), "right-not-restored")
    if session.value(_STILL_OURS):
        session.run("COMMIT")
        return findings
    session.run("ROLLBACK")
    message = f"owner and grants would keep {may.me} from finishing the restore: none is given"
    advice = f"Give it to {rights.owner} when it is done, and grant what belongs to others."
    return [_left_out("owner", message, advice)]


@dataclass(frozen=True)
class _May:
    """What the session's role may do with a database.

    Attributes
    ----------
    owner:
        Whose it is, or will be.
    ours:
        Whether it has the owner's rights.
    hand_over:
        Whether it may give it to the recorded owner.
    roles:
        The roles that are there, or will be, and that statements in the database can name.
    encoding:
        The database's.
    """

    me: str
    owner: str
    ours: bool
    hand_over: bool
    roles: frozenset[str]
    encoding: str


def _may(
    session: Session, rights: DatabaseRights, encoding: str, expected: Collection[str], *, there: bool
) -> _May:
    """Look what the session's role may do.

    Parameters
    ----------
    expected:
        Roles that will be there, and whose rights it will have.
    there:
        Whether the session is with the database.
    """
    owner, ours, creates = session.run(_MAY, there=there)[0]
    owner = recoded(owner, session.encoding, encoding)
    found = {recoded(row[0], session.encoding, encoding): bool(row[1]) for row in session.run(_ROLES)}
    roles = {name: member for name, member in found.items() if can_say(name, encoding)}
    roles |= dict.fromkeys(expected, True)
    hand_over = owner == rights.owner or (roles.get(rights.owner, False) and creates)
    return _May(session.target.user, owner, ours, hand_over, frozenset(roles), encoding)


def _without(rights: DatabaseRights, may: _May) -> list[Finding]:
    """What of owner and grants is left out."""
    findings = []
    if not may.ours:
        message = f"owner and grants of the database stay as they are: it doesn't belong to {may.me}"
        alike = may.owner == rights.owner and rights.default
        return [] if alike else [_left_out("owner", message, "Give them by its owner, or a superuser.")]
    if not may.hand_over:
        absent = _why_absent(rights.owner, may.encoding)
        reason = f"{may.me} may not give it away so" if rights.owner in may.roles else absent
        message = f"the database will not belong to {rights.owner}: {reason}"
        findings.append(_left_out("owner", message, "ALTER DATABASE ... OWNER TO, where it is meant."))
    if len(rights.grantees) > MOST_GRANTEES:
        message = (
            f"the grants on the database to {len(rights.grantees)} roles are left out: they are too many"
        )
        findings.append(_left_out("grants", message, "GRANT CONNECT to a group that they are members of."))
        return findings
    missing = [role for role in rights.grantees if role not in may.roles]
    for reason in dict.fromkeys(_why_absent(role, may.encoding) for role in missing):
        names = ", ".join(role for role in missing if _why_absent(role, may.encoding) == reason)
        message = f"nothing on the database will be granted to {names}: {reason}"
        findings.append(_left_out("grants", message, "Create it, and GRANT CONNECT, for example."))
    if rights.unknown:
        message = f"grants on the database that Coffre doesn't know are left out: {', '.join(rights.unknown)}"
        findings.append(_left_out("grants", message, ""))
    return findings


def _why_absent(role: str, encoding: str) -> str:
    return "there is no such role" if can_say(role, encoding) else f"no name in {encoding}"


def _left_out(what: str, message: str, advice: str) -> Finding:
    return Finding(level="warn", code=f"{what}-left-out", object="database", message=message, advice=advice)
