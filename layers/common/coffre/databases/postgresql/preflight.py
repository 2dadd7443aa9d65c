"""What would make a backup incomplete or wrong, found before anything is written.

Each check returns findings; `raise_refusal` turns the first that refuses into its error.
"""

from __future__ import annotations

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.encodings import can_say
from coffre.databases.postgresql.inventory import OF_EXTENSIONS
from coffre.databases.postgresql.roles import read_roles, tell_nameless
from coffre.errors import (
    CoffreError,
    DamageHiddenError,
    PrivilegesMissingError,
    ReplicaBehindError,
    ReplicaForeignError,
    RowSecurityError,
    ServerTooNewError,
    ServerTooOldError,
    StandbyRefusedError,
    UnsupportedExtensionError,
)
from coffre.readable import first_of
from coffre.results import Finding

OLDEST, NEWEST = 14, 18
REFUSED_EXTENSIONS = {"timescaledb": "its chunks and catalogs", "citus": "rows on other nodes"}
NAMED = 50
"""How many objects a message names at most."""

_ERRORS: dict[str, type[CoffreError]] = {
    cls.code: cls
    for cls in (
        DamageHiddenError,
        PrivilegesMissingError,
        ReplicaBehindError,
        ReplicaForeignError,
        RowSecurityError,
        ServerTooNewError,
        ServerTooOldError,
        StandbyRefusedError,
        UnsupportedExtensionError,
    )
}

_USER_RELATIONS = """
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'
"""

_UNREADABLE = f"""
SELECT format('%I.%I', n.nspname, c.relname) {_USER_RELATIONS} AND (
    (c.relkind IN ('r', 'p') AND NOT has_table_privilege(c.oid, 'SELECT'))
    OR (c.relkind = 'S' AND NOT has_sequence_privilege(c.oid, 'SELECT'))
    OR (c.relkind IN ('r', 'p', 'S') AND NOT has_schema_privilege(n.oid, 'USAGE')))
ORDER BY 1
"""

_HIDDEN = f"""
SELECT format('%I.%I', n.nspname, c.relname) {_USER_RELATIONS} AND row_security_active(c.oid) ORDER BY 1
"""

_UNREADABLE_OBJECTS = """
SELECT m.oid::text FROM pg_largeobject_metadata m
WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  AND NOT pg_has_role(current_user, m.lomowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
                  AND (a.grantee = 0 OR pg_has_role(current_user, a.grantee, 'USAGE')))
ORDER BY m.oid LIMIT 1000
"""


_LEFT_OUT = f"""
SELECT format('%I.%I', n.nspname, c.relname), c.relkind = 'f' {_USER_RELATIONS}
  AND (c.relkind = 'f' OR (c.relkind IN ('r', 'S') AND c.relpersistence = 'u' AND pg_is_in_recovery()))
ORDER BY 1
"""

_INVALID_INDEXES = f"""
SELECT format('%I.%I', n.nspname, c.relname) {_USER_RELATIONS} AND c.relkind = 'i'
  AND EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = c.oid AND NOT i.indisvalid)
ORDER BY 1
"""

_HIDING = """
SELECT name FROM pg_settings
WHERE name IN ('ignore_checksum_failure', 'zero_damaged_pages') AND setting = 'on' ORDER BY 1
"""

_PASSWORDS = """
SELECT 'subscription ' || quote_ident(subname) FROM pg_subscription s
WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL
SELECT format('user mapping for %s on server %I', quote_ident(m.usename), m.srvname) FROM pg_user_mappings m
WHERE EXISTS (SELECT FROM unnest(m.umoptions) o WHERE left(o, 9) = 'password=')
ORDER BY 1
"""


_STALE_COLLATIONS = """
WITH used AS MATERIALIZED (
  SELECT format('%I.%I', n.nspname, l.collname) AS name, l.oid, l.collversion
  FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
  WHERE l.collversion IS NOT NULL AND EXISTS (SELECT FROM pg_attribute a WHERE a.attcollation = l.oid))
SELECT 'collation ' || name, collversion, pg_collation_actual_version(oid) FROM used
WHERE collversion <> pg_collation_actual_version(oid) ORDER BY 1
"""

ICU_RULES = 16
"""From this version on a database may have them."""

_OWN_RULES = "SELECT daticurules FROM pg_database WHERE datname = current_database()"

_STALE_DEFAULT = """
SELECT 'database ' || quote_ident(datname), datcollversion, pg_database_collation_actual_version(oid)
FROM pg_database
WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
"""


def inspect(session: Session) -> list[Finding]:
    """Everything that speaks for or against a backup of this database by this role."""
    findings = _version(session)
    if any(finding.level == "refuse" for finding in findings):
        return findings
    findings += _standby(session)
    findings += _damage(session)
    findings += _extensions(session)
    findings += _privileges(session)
    findings += _row_security(session)
    findings += _notes(session)
    findings += _invalid_indexes(session)
    findings += _passwords(session)
    findings += _nameless(session)
    findings += _collations(session)
    findings += _rules(session)
    return findings


def raise_refusal(findings: list[Finding], where: str) -> None:
    """Raise the error of the first finding that refuses a backup of ``where``.

    Raises
    ------
    CoffreError
        Its class has the finding's code.
    """
    for finding in findings:
        if finding.level == "refuse":
            raise _ERRORS[finding.code](f"{where}: {finding.message}", finding.advice or None)


def refusal(error: type[CoffreError], what: str, message: str, advice: str = "") -> Finding:
    """A finding that refuses a backup; `raise_refusal` raises ``error`` for it."""
    return Finding(
        level="refuse", code=error.code, object=what, message=message, advice=advice or error.advice
    )


def _version(session: Session) -> list[Finding]:
    if OLDEST <= session.major <= NEWEST:
        return []
    error = ServerTooOldError if session.major < OLDEST else ServerTooNewError
    message = f"the server is PostgreSQL {session.major}; the bundled tools know {OLDEST} to {NEWEST}"
    return [refusal(error, "server", message)]


def _standby(session: Session) -> list[Finding]:
    if not session.value("SELECT pg_is_in_recovery()"):
        return []
    if session.value("SHOW hot_standby_feedback") != "on":
        return [
            refusal(StandbyRefusedError, "server", "the server is a hot standby without hot_standby_feedback")
        ]
    if session.value("SHOW wal_receiver_status_interval") == "0":
        never = "the server is a hot standby that never sends its feedback: wal_receiver_status_interval is 0"
        return [refusal(StandbyRefusedError, "server", never)]
    message = "the server is a hot standby: its primary keeps old rows as long as the backup runs"
    return [Finding(level="info", code="standby", object="server", message=message)]


def _damage(session: Session) -> list[Finding]:
    """Settings by which a server gives pages that it can't read as empty ones, or as they are.

    Source: https://www.postgresql.org/docs/current/runtime-config-developer.html
    """
    names = [row[0] for row in session.run(_HIDING)]
    if not names:
        return []
    message = f"{' and '.join(names)} on: rows on damaged pages would be missing, or wrong, without an error"
    return [refusal(DamageHiddenError, "server", message)]


def _extensions(session: Session) -> list[Finding]:
    installed = [row[0] for row in session.run("SELECT extname FROM pg_extension")]
    return [
        refusal(
            UnsupportedExtensionError,
            name,
            f"extension {name} keeps {REFUSED_EXTENSIONS[name]} where a dump can't see them",
        )
        for name in installed
        if name in REFUSED_EXTENSIONS
    ]


def _privileges(session: Session) -> list[Finding]:
    relations = [row[0] for row in session.run(_UNREADABLE)]
    objects = [f"large object {row[0]}" for row in session.run(_UNREADABLE_OBJECTS)]
    unreadable = relations + objects
    if not unreadable:
        return []
    return [
        refusal(
            PrivilegesMissingError,
            ", ".join(unreadable),
            f"the role {session.target.user} can't read {first_of(unreadable, NAMED)}",
        )
    ]


def _row_security(session: Session) -> list[Finding]:
    hidden = [row[0] for row in session.run(_HIDDEN)]
    if not hidden:
        return []
    message = (
        f"row-level security hides rows of {first_of(hidden, NAMED)} from the role {session.target.user}"
    )
    return [refusal(RowSecurityError, ", ".join(hidden), message)]


def _notes(session: Session) -> list[Finding]:
    return [
        Finding(
            level="info" if foreign else "warn",
            code="left-out",
            object=name,
            message=f"{name} is a foreign table: its rows stay out"
            if foreign
            else f"{name} is unlogged, and a standby has nothing of it: it is restored empty",
        )
        for name, foreign in session.run(_LEFT_OUT)
    ] + [
        Finding(
            level="warn",
            code="left-out",
            object=f"{schema}.{name}",
            message=f"{schema}.{name} is the extension {extension}'s own table and no configuration of it: "
            "its rows stay out, as of any dump, and are what the extension's script puts there",
        )
        for schema, name, extension in session.run(OF_EXTENSIONS)
    ]


def _invalid_indexes(session: Session) -> list[Finding]:
    """A dump leaves them out, so a restore doesn't bring them back."""
    return [
        Finding(
            level="warn",
            code="invalid-index",
            object=row[0],
            message=f"the index {row[0]} is invalid: a dump leaves it out, and so does the backup",
            advice="REINDEX it, or drop it.",
        )
        for row in session.run(_INVALID_INDEXES)
    ]


def _passwords(session: Session) -> list[Finding]:
    """Passwords that a definition holds are in every dump of it, this backup's included."""
    return [
        Finding(
            level="warn",
            code="password-in-definition",
            object=row[0],
            message=f"the definition of {row[0]} may hold a password, which the backup then holds, too",
            advice="Keep the password elsewhere: a passfile, a service file, or a certificate.",
        )
        for row in session.run(_PASSWORDS)
    ]


def _nameless(session: Session) -> list[Finding]:
    """Roles that were made in a database of another encoding, and are needed here."""
    names = session.run("SELECT rolname::text FROM pg_roles")
    if all(can_say(row[0], session.encoding) for row in names):
        return []
    return tell_nameless(read_roles(session), session.encoding)


def _collations(session: Session) -> list[Finding]:
    """A library that sorts otherwise than when indexes were built: they may miss rows, and hold doubles.

    The backup reads tables, never indexes; a restore builds them anew and may meet the doubles.
    Source: https://www.postgresql.org/docs/current/sql-altercollation.html
    """
    stale = session.run(_STALE_COLLATIONS)
    if session.major >= 15:  # a database's own version isn't recorded before
        stale += session.run(_STALE_DEFAULT)
    return [
        Finding(
            level="warn",
            code="stale-collation",
            object=name,
            message=f"the {name} has version {recorded}, its library is of version {actual}: "
            "indexes on text may be wrong",
            advice="REINDEX what depends on it, then ALTER COLLATION or DATABASE ... REFRESH VERSION.",
        )
        for name, recorded, actual in stale
    ]


def _rules(session: Session) -> list[Finding]:
    """A database's own rules for ICU aren't in its backup; those of collations are."""
    if session.major < ICU_RULES or session.value(_OWN_RULES) is None:
        return []
    return [
        Finding(
            level="warn",
            code="icu-rules-left-out",
            object="database",
            message="the database has ICU rules of its own, which the backup leaves out: restored text may "
            "sort otherwise",
            advice="Restore into an empty database that is created with them: CREATE DATABASE ... ICU_RULES.",
        )
    ]
