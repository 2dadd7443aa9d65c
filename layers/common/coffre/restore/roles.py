"""The roles that a restore creates and joins: planned, created once with all that is theirs, and told.

What a role had at the source and doesn't get is a finding: a password (never), rights that reach beyond a
database (unless a superuser restores), memberships in groups that aren't there or may do more than a database
allows, and ADMIN OPTION in groups that were there before.

Names are those of the backup, as its databases' encoding reads them: the same bytes are another name in a
session with a database of another encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter

from coffre.databases.postgresql.connection import Session, identifier
from coffre.databases.postgresql.encodings import can_say, recoded
from coffre.databases.postgresql.memberships import (
    Groups,
    grant_memberships,
    memberships,
    renamed,
    spelled,
    with_memberships,
)
from coffre.databases.postgresql.preloading import usable_settings
from coffre.databases.postgresql.role_map import named_roles
from coffre.databases.postgresql.roles import (
    RENAME,
    create_role,
    lacks_expiry,
    lacks_options,
    nameless,
    reserved_rights,
    set_role,
    without_reserved,
)
from coffre.databases.postgresql.toc import TocEntry
from coffre.errors import TargetLacksError
from coffre.events.restore import RestoreRequest
from coffre.restore.attempts import attempt, batches
from coffre.results import Finding
from coffre.vault.contents import Contents
from coffre.vault.manifest import Manifest
from coffre.vault.parts import ADMIN, Role

# Whoever is a member may become the group, and what that may become.  Predefined roles have initdb's
# numbers; pg_database_owner reaches nothing beyond one database.  Those of providers may reach further, and
# show it nowhere.  Names are only compared: functions of text may fail on one of another encoding.
_GROUPS = """
WITH powerful AS MATERIALIZED (
    SELECT oid FROM pg_roles WHERE rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls
        OR oid < 16384 AND rolname <> 'pg_database_owner' OR rolname >= 'rds_' AND rolname < 'rds`'
        OR rolname >= 'cloudsql' AND rolname < 'cloudsqm' OR rolname >= 'azure_' AND rolname < 'azure`')
SELECT g.oid::int8, EXISTS (SELECT FROM powerful p WHERE pg_has_role(g.oid, p.oid, 'MEMBER')),
       pg_has_role(current_user, g.oid, 'MEMBER WITH ADMIN OPTION')
FROM pg_roles g WHERE g.oid IN ({oids})
"""


@dataclass(frozen=True)
class NeededRoles:
    """What has to be done about roles.

    Attributes
    ----------
    create:
        The roles to create, with the attributes and the memberships that they get.
    join:
        Existing or new roles that the target role makes itself a member of, to hand objects over to them.
    lacking:
        What the target role may not do, and would have to.
    findings:
        What is created, and what of it isn't as at the source.
    """

    create: tuple[Role, ...] = ()
    join: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def created(self) -> list[str]:
        """The names of the roles to create."""
        return [role.name for role in self.create]


def used_roles(
    contents: Contents, manifest: Manifest, toc: Iterable[TocEntry], request: RestoreRequest
) -> list[Role]:
    """The source's roles that a restore needs, under the names that they have there.

    They are those that the archive names.  The server's record of what depends on roles knows less: nothing
    of the bootstrap superuser's, and no owners of subscriptions.  And it knows more: who owns an extension
    owns all that belongs to it, which no archive holds.

    Parameters
    ----------
    toc:
        Of the schema's archive, with the roles of the request's map.
    """
    if request.roles != "keep":
        return []
    named = named_roles(toc)
    objects = {one.owner for one in contents.large_objects}
    objects |= {role for one in contents.large_objects for role, _ in one.grants or ()}
    in_archive = manifest.file("large_objects") is not None  # an older backup's, whose names nobody reads
    return [
        role
        for role in contents.roles
        if request.role_map.get(role.name, role.name) in named
        or role.name in objects
        or (in_archive and role.used)
    ]


def needed_roles(
    session: Session, used: Sequence[Role], role_map: Mapping[str, str], *, encoding: str, superuser: bool
) -> NeededRoles:
    """Look what has to be done about roles, without changing anything.

    Parameters
    ----------
    session:
        With any database of the server.
    used:
        As `used_roles` gives them.
    role_map:
        Source roles and the target's roles that take their place.
    encoding:
        The backup's.
    superuser:
        Whether the session's role is one; others don't give every attribute.
    """
    mapped = [renamed(role, role_map) for role in used]
    create, join, lacking = _actions(session, mapped, encoding, superuser)
    create, unset = _usable(session, create)
    given, left_out = _memberships(session, create, encoding, superuser)
    findings = [_created(role, superuser) for role in given] + left_out + unset + _unknown(given)
    made = given if superuser else [without_reserved(role) for role in given]
    return NeededRoles(tuple(made), tuple(join), tuple(lacking), tuple(findings))


def refuse_nameless(used: Sequence[Role], manifest: Manifest) -> None:
    """Refuse roles whose names no statement can hold: those of a database of another encoding may be such.

    Raises
    ------
    TargetLacksError
    """
    encoding = manifest.locale.encoding
    found = nameless(used, encoding)
    if found:
        names = ", ".join(role.name for role in found)
        raise TargetLacksError(
            f"objects of {manifest.id} belong or are granted to roles whose names aren't {encoding}: {names}",
            f"Restore with `--roles mine`.  Or at the source: {RENAME}",
        )


def unmapped(
    session: Session, known: Collection[str], role_map: Mapping[str, str], encoding: str
) -> list[str]:
    """What the map names and isn't there: a name with a typing error must not make another role."""
    rows = session.run("SELECT rolname::text FROM pg_roles")
    existing = {recoded(row[0], session.encoding, encoding) for row in rows}
    lacking = [
        f"a use for the mapped role {old}: the backup has none" for old in role_map if old not in known
    ]
    return lacking + [f"the role {new}, to map to" for new in role_map.values() if new not in existing]


def create_roles(
    session: Session, needed: NeededRoles, told: Callable[[list[Finding]], None] = lambda _: None
) -> list[Finding]:
    """Create roles with memberships and settings, and make the session's own role a member of some.

    A role that is there has all that it gets, so nobody has to come back to it: what belongs to a role is one
    transaction, groups come before their members, and not too many roles are in one.

    Parameters
    ----------
    session:
        With the restored database itself: another one's encoding might lack the names, or have others' bytes.
    told:
        Called with the findings so far before anything of them is committed.

    Returns
    -------
    list of Finding
        Memberships in roles that were there before, and settings, that this role may not give.

    Raises
    ------
    CoffreError
        Of the roles that aren't there nothing is.
    """
    created, join = set(needed.created), set(needed.join)
    for names in batches(name for name in needed.join if name not in created):
        session.run("BEGIN")
        _join(session, names)
        session.run("COMMIT")
    findings: list[Finding] = []
    for roles in batches(_groups_first(needed.create)):
        session.run("BEGIN")
        findings += _create(session, roles, created, join)
        told(findings)
        session.run("COMMIT")
    return findings


def _groups_first(roles: Sequence[Role]) -> Iterator[Role]:
    """Each role after those of them that it is a member of."""
    by_name = {role.name: role for role in roles}
    groups = {role.name: [group for group in role.member_of if group in by_name] for role in roles}
    return (by_name[name] for name in TopologicalSorter(groups).static_order())


def _create(
    session: Session, roles: Sequence[Role], created: Collection[str], join: Collection[str]
) -> list[Finding]:
    """Create roles with all that they get, within the session's transaction.

    Parameters
    ----------
    created:
        The names of all that are created.
    """
    for role in roles:
        session.run(create_role(role))
    for role in roles:
        for grant in grant_memberships(_only(role, created)):
            session.run(grant)
    _join(session, [role.name for role in roles if role.name in join])
    findings = []
    for role in roles:
        others = grant_memberships(_only(role, set(role.member_of).difference(created)))
        findings += attempt(session, others, "membership-not-restored")
        findings += attempt(session, set_role(role), "setting-not-restored")
    return findings


def _join(session: Session, names: Iterable[str]) -> None:
    inherit = " WITH INHERIT TRUE, SET TRUE" if session.major >= 16 else ""
    for name in names:
        session.run(f"GRANT {identifier(name)} TO CURRENT_USER{inherit}")


def _only(role: Role, groups: Collection[str]) -> Role:
    held = memberships(role)
    return with_memberships(role, {group: how for group, how in held.items() if group in groups})


def _actions(
    session: Session, used: Sequence[Role], encoding: str, superuser: bool
) -> tuple[list[Role], list[str], list[str]]:
    """What has to be done about roles: (create, join, lacking)."""
    asked = "SELECT rolname::text, pg_has_role(current_user, oid, 'USAGE'), rolsuper FROM pg_roles"
    rows = session.run(asked)
    member = {recoded(row[0], session.encoding, encoding): row[1] for row in rows}
    superusers = {recoded(row[0], session.encoding, encoding) for row in rows if row[2]}
    may_create = superuser or session.value("SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user")
    create = [role for role in used if role.name not in member]
    if superuser:
        return create, [], []
    if not may_create:
        lacking = [f"the role {role.name}" for role in create]
        return [], [], lacking + [f"membership in {r.name}" for r in used if member.get(r.name) is False]
    foreign = [role.name for role in used if member.get(role.name) is False]
    if session.major >= 16:  # from 16 on CREATEROLE reaches only roles that one administers
        administered = session.run(
            "SELECT r.rolname::text FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid "
            "WHERE m.admin_option AND pg_has_role(current_user, m.member, 'USAGE')"
        )
        allowed = {recoded(row[0], session.encoding, encoding) for row in administered}
        return (
            create,
            [role.name for role in create],
            [f"membership in {n}" for n in foreign if n not in allowed],
        )
    join = [*(role.name for role in create), *(name for name in foreign if name not in superusers)]
    return create, join, [f"membership in {name}" for name in foreign if name in superusers]


def _usable(session: Session, create: Sequence[Role]) -> tuple[list[Role], list[Finding]]:
    """The roles without settings under which none of their sessions would begin, and what that leaves out."""
    made, findings = [], []
    for role in create:
        kept, left_out = usable_settings(session, [(role.name, setting) for setting in role.settings])
        made.append(replace(role, settings=tuple(setting for _, setting in kept)))
        findings += left_out
    return made, findings


def _memberships(
    session: Session, create: Sequence[Role], encoding: str, superuser: bool
) -> tuple[list[Role], list[Finding]]:
    """The roles with the memberships that they may be given, and findings that say why not with others.

    A group of the target only bears the name of the source's: who gave it its rights meant other members.  So
    it may have rights on objects, and no others, and nobody comes to say who else belongs to it.
    """
    created = {role.name for role in create}
    groups = {group for role in create for group in role.member_of} - created
    everywhere = superuser or session.major < 16  # before 16 CREATEROLE reached all ordinary roles
    said = {group for group in groups if can_say(group, encoding)}
    refused = {group: "not there" if group in said else f"no name in {encoding}" for group in groups}
    for group, powerful, administered in _groups(session, said, encoding):
        del refused[group]
        if powerful:
            refused[group] = "with more than rights on objects"
        elif not (everywhere or administered):
            refused[group] = f"not administered by {session.target.user}"
    given, findings = [], []
    for role in create:
        held = memberships(role)
        if not refused.keys().isdisjoint(held):
            findings.append(_left_out(role.name, held, refused))
        held = {group: how for group, how in held.items() if group not in refused}
        foreign = [group for group, how in held.items() if ADMIN in how and group not in created]
        if foreign:
            findings.append(_unadministered(role.name, foreign))
        held.update((group, tuple(one for one in held[group] if one != ADMIN)) for group in foreign)
        given.append(with_memberships(role, held))
    return given, findings


def _groups(session: Session, names: Collection[str], encoding: str) -> list[tuple[str, bool, bool]]:
    """Those of the groups that are there: (name, more than rights on objects, whether we administer it)."""
    rows = session.run("SELECT oid::int8, rolname::text FROM pg_roles") if names else []
    there = {oid: recoded(name, session.encoding, encoding) for oid, name in rows}
    oids = ", ".join(str(oid) for oid, name in there.items() if name in names)
    found = session.run(_GROUPS.format(oids=oids)) if oids else []
    return [(there[oid], powerful, administered) for oid, powerful, administered in found]


def _left_out(name: str, held: Groups, refused: Mapping[str, str]) -> Finding:
    groups: dict[str, dict[str, tuple[str, ...]]] = {}
    for group, how in held.items():
        if group in refused:
            groups.setdefault(refused[group], {})[group] = how
    without = "; ".join(f"{', '.join(spelled(those))} ({reason})" for reason, those in groups.items())
    message = f"role {name} will not be a member of {without}"
    advice = "GRANT the membership by hand, where it is meant."
    return _warning("membership-left-out", name, message, advice)


def _unadministered(name: str, groups: Sequence[str]) -> Finding:
    message = f"role {name} will not grant to others what was there before: {', '.join(groups)}"
    advice = "GRANT the membership WITH ADMIN OPTION by hand, where it is meant."
    return _warning("admin-left-out", name, message, advice)


def _created(role: Role, superuser: bool) -> Finding:
    """That a role is created, and with what of weight."""
    reserved = ", ".join(reserved_rights(role))
    rights = f" and with{'' if superuser else 'out'} {reserved}" if reserved else ""
    groups = f", as a member of {', '.join(spelled(memberships(role)))}" if role.member_of else ""
    message = f"role {role.name} will be created without a password{rights}{groups}"
    return _warning("role-created", role.name, message, "Set its password afterwards.")


def _unknown(create: Sequence[Role]) -> list[Finding]:
    """What older backups don't say of roles."""
    findings = []
    if names := ", ".join(role.name for role in create if lacks_expiry(role)):
        message = f"the backup doesn't say until when passwords are valid, of {names}"
        advice = "Where they expire: ALTER ROLE ... VALID UNTIL."
        findings.append(_warning("expiry-unknown", "roles", message, advice))
    if names := ", ".join(role.name for role in create if lacks_options(role)):
        message = f"the backup doesn't say with which options roles are members of others, of {names}"
        advice = "Where it was with ADMIN, or without INHERIT or SET: GRANT the membership again WITH that."
        findings.append(_warning("membership-options-unknown", "roles", message, advice))
    return findings


def _warning(code: str, what: str, message: str, advice: str) -> Finding:
    return Finding(level="warn", code=code, object=what, message=message, advice=advice)
