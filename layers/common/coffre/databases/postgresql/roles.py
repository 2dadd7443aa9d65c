"""Roles and what belongs to the database itself: read under the snapshot, written as records and as SQL.

``pg_dumpall --globals-only`` would do it outside the snapshot and for names without newlines only.  Passwords
are never read: pg_roles shows none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from coffre.databases.postgresql.connection import Session, identifier, literal
from coffre.databases.postgresql.encodings import can_say
from coffre.databases.postgresql.memberships import grant_memberships, read_memberships, with_memberships
from coffre.results import Finding
from coffre.vault.parts import DatabaseRecord, Role

# The bootstrap superuser's possessions aren't in pg_shdepend, so they are looked for one by one.
_ROLES = """
SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication,
       r.rolbypassrls, r.rolconnlimit, coalesce(r.rolvaliduntil, 'infinity')::text,
       ARRAY(SELECT unnest(s.setconfig) FROM pg_db_role_setting s
             WHERE s.setrole = r.oid AND s.setdatabase = 0)::text[],
       EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid
               AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))
       OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relowner = r.oid AND left(n.nspname, 3) <> 'pg_'
                  AND n.nspname <> 'information_schema')
       OR EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                  WHERE p.proowner = r.oid AND left(n.nspname, 3) <> 'pg_'
                  AND n.nspname <> 'information_schema')
       OR EXISTS (SELECT FROM pg_namespace n WHERE n.nspowner = r.oid AND left(n.nspname, 3) <> 'pg_'
                  AND n.nspname NOT IN ('information_schema', 'public'))
FROM pg_roles r
ORDER BY r.rolname
"""

# A database that nobody has any right on has an empty list, one with the default rights has none.
_DATABASE = """
SELECT pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'),
       CASE WHEN cardinality(datacl) = 0 THEN ARRAY['=/' || quote_ident(pg_get_userbyid(datdba))]
            ELSE coalesce(datacl, '{}')::text[] END
FROM pg_database WHERE datname = current_database()
"""

_SETTINGS = """
SELECT coalesce(r.rolname, ''), unnest(s.setconfig)
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1, 2
"""

RENAME = "ALTER ROLE ... RENAME TO, in a database of the encoding that the name is in, and back up again."
"""What to do about roles that `nameless` finds."""

_ATTRIBUTES = ("SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS")
_RESERVED = ("BYPASSRLS", "CREATEDB", "CREATEROLE", "REPLICATION", "SUPERUSER")
_EXPIRY = "VALID UNTIL "
_NO_EXPIRY = f"{_EXPIRY}'infinity'"

_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
"""Settings whose values the catalog has as lists of quoted names (``variable_is_guc_list_quote`` in
dumputils.c)."""

_SPACE = r"[ \t\n\r\f\v]*"
_ELEMENT = re.compile(
    rf"""{_SPACE}(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^" \t\n\r\f\v,][^ \t\n\r\f\v,]*)){_SPACE}(?:,|\Z)"""
)


def read_roles(session: Session) -> list[Role]:
    """All roles of the cluster but PostgreSQL's own."""
    roles, groups = [], read_memberships(session)
    for row in session.run(_ROLES):
        if row[0].startswith("pg_"):  # asked of the server, a name of another encoding may be an error
            continue
        flags = [name if held else f"NO{name}" for name, held in zip(_ATTRIBUTES, row[1:8], strict=True)]
        limit = [f"CONNECTION LIMIT {row[8]}"] if row[8] != -1 else []
        attributes = (*flags, *limit, f"{_EXPIRY}{literal(row[9])}")
        role = Role(row[0], attributes, settings=tuple(row[10] or ()), used=row[11])
        roles.append(with_memberships(role, groups.get(role.name, {})))
    return roles


def nameless(roles: Iterable[Role], encoding: str) -> list[Role]:
    """Those whose names no statement in a database of this encoding can hold.

    They were made, or renamed, in a database of another one.
    """
    return [role for role in roles if not can_say(role.name, encoding)]


def tell_nameless(roles: Iterable[Role], encoding: str) -> list[Finding]:
    """A warning for each role that the database needs and that is `nameless`: no restore can name it."""
    return [
        Finding(
            level="warn",
            code="role-nameless",
            object=role.name,
            message=f"objects belong or are granted to the role {role.name}, whose name isn't {encoding}",
            advice=RENAME,
        )
        for role in nameless(roles, encoding)
        if role.used
    ]


def read_database(session: Session) -> DatabaseRecord:
    """The database's owner, comment, grants and settings."""
    owner, comment, grants = session.run(_DATABASE)[0]
    settings = tuple((row[0], row[1]) for row in session.run(_SETTINGS))
    return DatabaseRecord(owner, comment, tuple(grants or ()), settings)


def create_role(role: Role) -> str:
    """``CREATE ROLE`` with the role's attributes; no expiry is what a role has by default."""
    attributes = (attribute for attribute in role.attributes if attribute != _NO_EXPIRY)
    return f"CREATE ROLE {identifier(role.name)} WITH {' '.join(attributes)}"


def reserved_rights(role: Role) -> list[str]:
    """The role's attributes that reach beyond a database: a restore by an ordinary role gives none."""
    return [name for name in _RESERVED if name in role.attributes]


def without_reserved(role: Role) -> Role:
    """The role without those."""
    reserved = {*_RESERVED, *(f"NO{name}" for name in _RESERVED)}
    return replace(role, attributes=tuple(name for name in role.attributes if name not in reserved))


def lacks_expiry(role: Role) -> bool:
    """Whether its record says nothing of how long its password is valid: those of older backups don't."""
    return "LOGIN" in role.attributes and _is_older(role)


def lacks_options(role: Role) -> bool:
    """Whether it is a member of others and its record says nothing of how: those of older backups don't."""
    return bool(role.member_of) and _is_older(role)


def _is_older(role: Role) -> bool:
    """Whether its record is of a version that wrote neither expiry nor options of memberships."""
    return not any(attribute.startswith(_EXPIRY) for attribute in role.attributes)


def set_role(role: Role) -> Iterable[str]:
    """The ``ALTER ROLE`` statements for the role's settings, in whichever database."""
    for setting in role.settings:
        yield set_configuration(f"ROLE {identifier(role.name)}", setting)


def set_configuration(subject: str, setting: str) -> str:
    """``ALTER <subject> SET name = value`` for a setting in the catalog's form ``name=value``.

    Nothing of a value is taken as SQL.  A role may give itself any ``search_path``, and one that isn't quoted
    can hold whole statements: elements of lists are quoted anew, as by ``makeAlterConfigCommand`` of pg_dump.
    """
    name, _, value = setting.partition("=")
    elements = elements_of(value) if name in _LISTS else []
    return f"ALTER {subject} SET {identifier(name)} TO {', '.join(map(literal, elements or [value]))}"


def elements_of(value: str) -> list[str]:
    """The elements of a setting that is a list of names; none if it isn't one."""
    elements, at = [], 0
    while at < len(value):
        found = _ELEMENT.match(value, at)
        if found is None:
            return []
        elements.append(found["plain"] or found["quoted"].replace('""', '"'))
        at = found.end()
    return elements


def globals_sql(roles: Iterable[Role], database: DatabaseRecord, name: str) -> str:
    """A script that makes the roles again and sets what belongs to the database, for people and ``psql``."""
    roles = list(roles)
    lines = ["-- Roles have no passwords here; set them afterwards."]
    lines += [f"{create_role(role)};" for role in roles]
    lines += [f"{grant};" for role in roles for grant in grant_memberships(role)]
    lines += [f"{setting};" for role in roles for setting in set_role(role)]
    lines += [f"{statement};" for statement in database_statements(database, name)]
    return "\n".join(lines) + "\n"


def database_statements(database: DatabaseRecord, name: str) -> list[str]:
    """What makes a restored database ``name`` like its source: comment and settings, each statement alone."""
    subject = f"DATABASE {identifier(name)}"
    statements = []
    if database.comment is not None:
        statements.append(f"COMMENT ON {subject} IS {literal(database.comment)}")
    for role, setting in database.settings:
        where = f"ROLE {identifier(role)} IN {subject}" if role else subject
        statements.append(set_configuration(where, setting))
    return statements
