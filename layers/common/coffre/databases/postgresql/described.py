"""Grants and comments, object by object: read at the source and again in a restored copy, and compared.

A right is compared with what the object's owner and everybody have by default, privilege by privilege,
because the same rights can be written in several ways.  Who granted it is left out: it changes nothing for
the grantee.

Of what a new database has already, the schema ``public`` counts as one of the user's.  Its rights are those
that differ from a schema that is open to everybody, which it isn't any more in any but the oldest databases:
so they are recorded of nearly all.
Sources: https://www.postgresql.org/docs/current/functions-info.html (aclexplode, acldefault,
pg_identify_object) and https://www.postgresql.org/docs/current/ddl-priv.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.memberships import memberships, read_memberships, spelled
from coffre.results import Finding
from coffre.vault.parts import Described, Role

_FIRST_OF_USERS = 16384  # FirstNormalObjectId in access/transam.h; large objects may have any number

_PUBLIC = ("schema", "public")
_DATABASE_OWNER = "pg_database_owner"
"""As which whoever owns a copy has the rights of ``public``'s owner: those aren't compared."""

_RIGHT = """format('%s %s%s',
            CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
            x.privilege_type, CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)"""

# acldefault('c', ...) is the empty list of rights: a column has none by default.
_GRANTED = f"""
WITH held (class, id, sub, acl, usual) AS (
    SELECT 'pg_class'::regclass, oid, 0, relacl,
           acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)
    FROM pg_class WHERE relacl IS NOT NULL AND relpersistence <> 't'
    UNION ALL
    SELECT 'pg_class'::regclass, attrelid, attnum, attacl, acldefault('c', 10) FROM pg_attribute
    WHERE attacl IS NOT NULL AND NOT attisdropped
    UNION ALL
    SELECT 'pg_proc'::regclass, oid, 0, proacl, acldefault('f', proowner) FROM pg_proc
    WHERE proacl IS NOT NULL
    UNION ALL
    SELECT 'pg_namespace'::regclass, oid, 0, nspacl, acldefault('n', nspowner) FROM pg_namespace
    WHERE nspacl IS NOT NULL AND oid >= {_FIRST_OF_USERS} AND nspname <> 'public'
    UNION ALL
    SELECT 'pg_namespace'::regclass, oid, 0, coalesce(nspacl, acldefault('n', nspowner)),
           acldefault('n', nspowner) || makeaclitem(0, nspowner, 'USAGE', false)
           || makeaclitem(0, nspowner, 'CREATE', false)
    FROM pg_namespace WHERE nspname = 'public'
    UNION ALL
    SELECT 'pg_type'::regclass, oid, 0, typacl, acldefault('T', typowner) FROM pg_type
    WHERE typacl IS NOT NULL
    UNION ALL
    SELECT 'pg_language'::regclass, oid, 0, lanacl, acldefault('l', lanowner) FROM pg_language
    WHERE lanacl IS NOT NULL
    UNION ALL
    SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwacl, acldefault('F', fdwowner)
    FROM pg_foreign_data_wrapper WHERE fdwacl IS NOT NULL
    UNION ALL
    SELECT 'pg_foreign_server'::regclass, oid, 0, srvacl, acldefault('S', srvowner) FROM pg_foreign_server
    WHERE srvacl IS NOT NULL
    UNION ALL
    SELECT 'pg_largeobject'::regclass, oid, 0, lomacl, acldefault('L', lomowner)
    FROM pg_largeobject_metadata WHERE lomacl IS NOT NULL
    UNION ALL
    SELECT 'pg_default_acl'::regclass, oid, 0, defaclacl,
           CASE WHEN defaclnamespace = 0
                THEN acldefault(CASE defaclobjtype WHEN 'S' THEN 's' ELSE defaclobjtype END, defaclrole)
                ELSE acldefault('c', 10) END
    FROM pg_default_acl
), rights (class, id, sub, entry) AS (
    SELECT class, id, sub, (SELECT array_agg(mark || what ORDER BY mark || what) FROM (
        SELECT '+' AS mark, {_RIGHT} AS what FROM aclexplode(acl) x
        WHERE (x.grantee, x.privilege_type, x.is_grantable) NOT IN (
            SELECT y.grantee, y.privilege_type, y.is_grantable FROM aclexplode(usual) y)
        UNION
        SELECT '-', {_RIGHT} FROM aclexplode(usual) x
        WHERE (x.grantee, x.privilege_type, x.is_grantable) NOT IN (
            SELECT y.grantee, y.privilege_type, y.is_grantable FROM aclexplode(acl) y)) AS e)
    FROM held WHERE id >= {_FIRST_OF_USERS} OR class IN ('pg_largeobject'::regclass, 'pg_namespace'::regclass)
)
SELECT i.type, i.identity, r.entry FROM rights r, pg_identify_object(r.class, r.id, r.sub) i
WHERE r.entry IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = r.class AND d.objid = r.id AND d.deptype = 'e')
"""

# Comments of extensions and event triggers aren't compared: the first are the extension's own, the second
# come after the comparison.  Invalid indexes are in no dump, nor are their comments.
_COMMENTS = f"""
SELECT i.type, i.identity, encode(sha256(textsend(c.description)), 'hex')
FROM pg_description c, pg_identify_object(c.classoid, c.objoid, c.objsubid) i
WHERE (c.objoid >= {_FIRST_OF_USERS} OR c.classoid = 'pg_largeobject'::regclass
       OR (c.classoid = 'pg_namespace'::regclass AND i.identity = 'public'
           AND c.description <> 'standard public schema'))
  AND c.classoid NOT IN ('pg_extension'::regclass, 'pg_event_trigger'::regclass)
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = c.classoid AND d.objid = c.objoid AND d.deptype = 'e')
  AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indexrelid = c.objoid AND NOT x.indisvalid
                  AND c.classoid = 'pg_class'::regclass)
"""


def read_described(session: Session) -> list[Described]:
    """The user's objects that have a comment or other rights than by default, sorted by kind and name."""
    found: dict[tuple[str, str], Described] = {}
    for kind, name, grants in session.run(_GRANTED):
        if (kind, name) == _PUBLIC:
            grants = [one for one in grants if not one[1:].startswith(f"{_DATABASE_OWNER} ")]  # noqa: PLW2901
        if grants:
            found[kind, name] = Described(kind, name, tuple(grants))
    for kind, name, comment in session.run(_COMMENTS):
        grants = found[kind, name].grants if (kind, name) in found else ()
        found[kind, name] = Described(kind, name, grants, comment)
    return [found[key] for key in sorted(found)]


def compare_described(
    session: Session, recorded: Iterable[Described], *, level: Literal["refuse", "warn", "info"]
) -> list[Finding]:
    """The objects whose rights or comments aren't the recorded ones.

    Parameters
    ----------
    level:
        Of the findings.
    """
    here = {(item.kind, item.name): item for item in read_described(session)}
    findings = []
    for item in recorded:
        found = here.pop((item.kind, item.name), Described(item.kind, item.name))
        findings += _differences(item, found, level)
    here.pop(_PUBLIC, None)  # older backups don't record it
    for found in here.values():
        findings += _differences(Described(found.kind, found.name), found, level)
    return findings


def _differences(
    expected: Described, found: Described, level: Literal["refuse", "warn", "info"]
) -> list[Finding]:
    what, findings = f"{expected.kind} {expected.name}", []
    if expected.grants != found.grants:
        lost = ", ".join(sorted(set(expected.grants) - set(found.grants))) or "none"
        new = ", ".join(sorted(set(found.grants) - set(expected.grants))) or "none"
        message = f"{what}: rights (+ granted, - revoked) that are missing: {lost}; that are new: {new}"
        findings.append(Finding(level=level, code="grants-differ", object=what, message=message))
    if expected.comment != found.comment:
        message = f"{what}: its comment isn't the recorded one"
        findings.append(Finding(level=level, code="comment-differs", object=what, message=message))
    return findings


def compare_roles(session: Session, recorded: Iterable[Role]) -> list[Finding]:
    """The roles that are missing, or aren't members as they were of what they were members of.

    Parameters
    ----------
    recorded:
        With the memberships that the copy shall have.
    """
    here = {row[0] for row in session.run("SELECT rolname FROM pg_roles")}
    groups = read_memberships(session)
    findings = []
    for role in recorded:
        found, expected = (sorted(spelled(one)) for one in (groups.get(role.name, {}), memberships(role)))
        if role.name not in here:
            message = f"role {role.name} is missing"
        elif found != expected:
            message = f"role {role.name} is a member of {found}, expected {expected}"
        else:
            continue
        findings.append(Finding(level="refuse", code="roles-differ", object=role.name, message=message))
    return findings
