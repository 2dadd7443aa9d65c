"""Putting a restored database in the place of another one, which stays under a dated name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.exchange import Exchange, exchange_names
from coffre.databases.postgresql.identity import system_identifier
from coffre.databases.postgresql.standing import (
    RESERVED,
    Mark,
    Standing,
    carry_over,
    comment_escaped,
    dated,
    find,
    nameless_of,
    without_mark,
    write_mark,
)
from coffre.databases.postgresql.target import Target
from coffre.databases.registry import Registry
from coffre.errors import (
    CoffreError,
    DatabaseMissingError,
    PlanChangedError,
    SafetyBackupImpossibleError,
    TargetLacksError,
)
from coffre.ids import stamp, utc_now
from coffre.restore.leftovers import left_databases
from coffre.results import Finding

CHECK_SECONDS = 60.0

_SESSIONS = """
SELECT coalesce(s.usename::text, 'unknown role'),
       me.rolsuper OR (NOT coalesce(r.rolsuper, true) AND (
           pg_has_role(me.oid, 'pg_signal_backend', 'USAGE') OR pg_has_role(me.oid, s.usesysid, 'USAGE')))
FROM pg_stat_activity s CROSS JOIN (SELECT oid, rolsuper FROM pg_roles WHERE rolname = current_user) me
LEFT JOIN pg_roles r ON r.oid = s.usesysid
WHERE s.datid = {oid} AND s.backend_type IS DISTINCT FROM 'autovacuum worker'
"""


@dataclass(frozen=True)
class Swap:
    """What stands in the place that a restored database is to get.

    Attributes
    ----------
    aside:
        The name under which it will stay.
    sessions:
        How many are open with it now; they are ended.
    registered:
        The name under which it is registered and backed up first; None for no backup.
    """

    standing: Standing
    aside: str
    sessions: int
    registered: str | None
    findings: tuple[Finding, ...]


def inspect_swap(target: Target, moment: datetime, registry: Registry, *, safety: bool) -> Swap:
    """Look at the database that is to be replaced, without changing anything.

    Parameters
    ----------
    moment:
        When the plan was made: it dates the name under which the old database stays.
    safety:
        Whether it has to be backed up first.

    Raises
    ------
    DatabaseMissingError, TargetLacksError, SafetyBackupImpossibleError
    """
    refuse_reserved(target)
    with open_session(target.maintenance, seconds=CHECK_SECONDS, application="coffre/plan") as session:
        standing = find(session, target.database)
        if standing is None:
            raise DatabaseMissingError(
                f"{target.label} doesn't exist, so nothing can be replaced", "Restore with the mode `new`."
            )
        _refuse_nameless(session, target, standing)
        sessions = require_rights(session, target, standing)
        findings = _warnings(session, standing, sessions) + comment_escaped(standing)
        registered = _registered(session, target, standing, registry) if safety else None
    if safety and registered is None:
        raise SafetyBackupImpossibleError(
            f"{target.label} isn't registered, or can't be reached so: it can't be backed up first"
        )
    if not safety:
        message = (
            f"no backup of {target.database} is taken before it is replaced; it stays on the server only"
        )
        findings.append(_warning("no-safety-backup", target.database, message))
    return Swap(standing, dated(standing.name, "before", moment), sessions, registered, tuple(findings))


def put_in_place(target: Target, swap: Swap, working: str, *, seconds: float) -> list[Finding]:
    """Carry over what belongs to the name, then change the names, in one transaction.

    Parameters
    ----------
    working:
        The name of the restored database.

    Raises
    ------
    PlanChangedError, SessionsRemainError, CoffreError
        The old database still bears its name.
    """
    there = target.maintenance
    with open_session(there, seconds=seconds, application="coffre/restore") as session:
        # As it is now: building the new one may have taken long.
        old, new = find(session, swap.standing.name), find(session, working)
        if old is None or old.oid != swap.standing.oid:
            raise PlanChangedError(f"{target.label} isn't the database any more that was to be replaced")
        if new is None:
            raise DatabaseMissingError(f"the restored database {working!r} is gone", "Run the restore again.")
        findings = carry_over(session, old, working)
        carried = find(session, working)
    mark = Mark(old.name, old.oid, new.oid, stamp(utc_now()), "swap")
    comments: dict[str, str | None] = {swap.aside: write_mark(old.comment, mark)}
    if carried is not None and carried.comment != without_mark(carried.comment):
        comments[old.name] = without_mark(carried.comment)
    names = Exchange(old.name, old.oid, swap.aside, (new.oid, working), comments)
    exchange_names(there, names, seconds=seconds)
    return findings


def refuse_reserved(target: Target) -> None:
    """Refuse PostgreSQL's own databases.

    Raises
    ------
    TargetLacksError
    """
    if target.database in RESERVED:
        raise TargetLacksError(
            f"{target.label} is one of PostgreSQL's own and can't be replaced", "Name another database."
        )


def _refuse_nameless(session: Session, target: Target, standing: Standing) -> None:
    """What belongs to the name is carried over by a session with the maintenance database."""
    names = nameless_of(session, standing)
    if names:
        raise TargetLacksError(
            f"{target.label} belongs or is granted to roles whose names aren't {session.encoding}, "
            f"which {session.target.label} has: {', '.join(names)}",
            "Restore with the mode `new` and exchange the names by hand, or give it to other roles first.",
        )


def require_rights(session: Session, target: Target, *standings: Standing) -> int:
    """Check that this role may rename the databases and end their sessions; how many sessions there are.

    Raises
    ------
    TargetLacksError
        Naming everything that is lacking.
    """
    lacking, sessions = [], 0
    row = session.run("SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user")[0]
    if not row[0]:
        lacking.append("CREATEDB, which renaming a database takes")
    for standing in standings:
        if not standing.ours:
            lacking.append(f"membership in {standing.owner}, the owner of database {standing.name}")
        rows = session.run(_SESSIONS.format(oid=standing.oid))
        sessions += len(rows)
        foreign = sorted({str(name) for name, may_end in rows if not may_end})
        if foreign:
            lacking.append(f"the right to end sessions of {', '.join(foreign)} (pg_signal_backend)")
        prepared = session.value(
            "SELECT count(*) FROM pg_prepared_xacts p JOIN pg_database d ON d.datname = p.database "
            f"WHERE d.oid = {standing.oid}"
        )
        if prepared:
            lacking.append(f"an end of {prepared} prepared transactions in {standing.name}")
    if lacking:
        raise TargetLacksError(
            f"the role {target.user} at {target.label} lacks: {'; '.join(lacking)}",
            "Grant what is named, or use another role.",
        )
    return sessions


def safety_backup(
    registered: str | None,
    backup_id: str,
    take: Callable[[dict[str, object], float], dict[str, object]],
    seconds: float,
    planned: datetime | None = None,
) -> str | None:
    """Back up the database that is to be replaced; the backup's id, or None if none was wanted.

    Parameters
    ----------
    registered:
        The name under which it is registered.
    backup_id:
        The backup that takes its place.
    planned:
        The backup's scheduled time, of which there is one backup: by default now.
    take:
        Calls the backup function: (event, seconds to wait) -> its answer.

    Raises
    ------
    FunctionFailedError
        Nothing was changed.
    """
    if registered is None:
        return None
    event: dict[str, object] = {
        "type": "safety",
        "scheduled_time": stamp(planned or utc_now()),
        "database": registered,
        "reason": f"before {backup_id} takes its place",
    }
    return str(take(event, seconds)["backup_id"])


def _registered(session: Session, target: Target, standing: Standing, registry: Registry) -> str | None:
    """The name under which this very database is registered: by its address, else by what its server says."""
    server = _identity(session, standing.name)
    for name in registry.names():
        try:
            where = registry.target(registry.get(name))
            if where.database != target.database:
                continue
            if (where.host, where.port) == (target.host, target.port):
                return name
            with open_session(where, seconds=CHECK_SECONDS, application="coffre/plan") as other:
                if server is not None and _identity(other, standing.name) == server:
                    return name
        except CoffreError:
            continue  # a registration that can't be read or reached isn't one that could be backed up
    return None


def _identity(session: Session, database: str) -> tuple[int, int] | None:
    """The server's own identifier and the database's OID; None where this role may not ask."""
    standing, system = find(session, database), system_identifier(session)
    return None if standing is None or system is None else (system, standing.oid)


def _warnings(session: Session, standing: Standing, sessions: int) -> list[Finding]:
    findings = []
    if sessions:
        message = f"{sessions} sessions with {standing.name} are ended at the moment of the change"
        findings.append(_warning("sessions-end", standing.name, message, "Stop the application first."))
    slots = session.run(
        f"SELECT slot_name::text FROM pg_replication_slots WHERE datoid = {standing.oid} ORDER BY 1"
    )
    if slots:
        names = ", ".join(row[0] for row in slots)
        message = f"logical replication slots stay with the old database: {names}"
        findings.append(_warning("slots-stay", standing.name, message, "Make them again in the new one."))
    if standing.tablespace != "pg_default":
        message = f"{standing.name} lies in tablespace {standing.tablespace}, the restored one in pg_default"
        findings.append(_warning("tablespace", standing.name, message))
    return findings + left_databases(session, standing.name)


def _warning(code: str, what: str, message: str, advice: str = "") -> Finding:
    return Finding(level="warn", code=code, object=what, message=message, advice=advice)
