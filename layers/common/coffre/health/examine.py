"""Ask a server how it is: short statements, each with a limit, none of which locks or writes anything."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError, ConnectionLostError, PrivilegesMissingError, QueryFailedError
from coffre.health.score import ServerFacts, Slot
from coffre.results import Finding

STATEMENT_SECONDS = 15
"""How long a single statement may take on the server."""
DATABASE_SECONDS = 45.0
"""How long all questions to one database may take together."""

_SIZE = "SELECT pg_database_size(current_database())"

_TABLES = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
"""

# Every role sees pid, database and user of every session; autovacuum's workers have no user.
_CONNECTIONS = """
SELECT count(*) FILTER (WHERE datid IS NOT NULL AND usesysid IS NOT NULL AND leader_pid IS NULL),
       current_setting('max_connections')::int
FROM pg_stat_activity
"""

# Without these rights the start of another role's transaction is null in pg_stat_activity.
_TRANSACTIONS = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(began)), 0)::float8,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
FROM (SELECT xact_start FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
      UNION ALL
      SELECT prepared FROM pg_prepared_xacts WHERE database = current_database()) AS open (began)
"""

_SLOTS = """
SELECT slot_name::text,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                            ELSE pg_current_wal_lsn() END, restart_lsn)::int8
FROM pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL ORDER BY 1
"""

# One database that can't be frozen stops the writes of all databases of its server.
_TRANSACTION_IDS = """
SELECT datname::text, greatest(age(datfrozenxid), mxid_age(datminmxid))
FROM pg_database ORDER BY 2 DESC LIMIT 1
"""

_READABLE = """
SELECT has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(oid, 'SELECT')
   AND NOT row_security_active(oid)
FROM pg_class WHERE oid = to_regclass(:name)
"""


def examine(target: Target, critical_tables: Iterable[str]) -> ServerFacts:
    """Everything that the score needs to know of a server.

    Parameters
    ----------
    critical_tables:
        Names as in SQL; without a schema ``public`` is meant.

    Raises
    ------
    CoffreError
        If there is no session with the server, or no longer.  A question that it refuses raises nothing: it
        stays unanswered.
    """
    with open_session(target, seconds=STATEMENT_SECONDS, application="coffre/health") as session:
        questions = _Questions(session, time.monotonic() + DATABASE_SECONDS)
        connections, most = questions.one("connections", _CONNECTIONS, 2)
        longest, sees_others = questions.one("transactions", _TRANSACTIONS, 2)
        oldest, age = questions.one("transaction ids", _TRANSACTION_IDS, 2)
        slots = questions.rows("replication slots", _SLOTS)
        missing, unreadable = _critical(questions, critical_tables)
        tables = questions.one("tables", _TABLES, 1)[0]
        # The last one: on a server with very many files it takes long.
        size = questions.one("size", _SIZE, 1)[0]
        return ServerFacts(
            version=f"{session.major}.{session.version % 10_000}",
            size_bytes=size,
            tables=tables,
            missing_tables=missing,
            unreadable_tables=unreadable,
            connections=connections,
            max_connections=most,
            idle_slots=tuple(Slot(name, max(0, kept)) for name, kept in slots),
            longest_transaction=longest,
            sees_others=sees_others is not False,
            oldest_database=oldest or "",
            transaction_age=age,
            unanswered=tuple(questions.unanswered),
        )


class _Questions:
    """Asks until ``ends`` (on `time.monotonic`'s clock) and notes what stays unanswered."""

    def __init__(self, session: Session, ends: float) -> None:
        self._session = session
        self._ends = ends
        self.unanswered: list[Finding] = []

    def ask(self, statement: str, **parameters: Any) -> list[list[Any]]:
        """The rows of one statement.  A server that falls silent loses the session, here and at once."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise ConnectionLostError(f"{self._session.target.label} answers too slowly")
        self._session.socket.settimeout(left)
        return self._session.run(statement, **parameters)

    def rows(self, subject: str, statement: str) -> list[list[Any]]:
        """The rows of one statement; none if it stays unanswered."""
        try:
            return self.ask(statement)
        except ConnectionLostError:
            raise
        except CoffreError as error:
            advice = "The other questions were answered; the server's message tells why this one wasn't."
            self.unanswered.append(
                Finding(
                    level="warn",
                    code="question-unanswered",
                    object=subject,
                    message=error.message,
                    advice=advice,
                )
            )
            return []

    def one(self, subject: str, statement: str, columns: int) -> list[Any]:
        """The only row of a statement; as many Nones if it stays unanswered."""
        rows = self.rows(subject, statement)
        return rows[0] if rows else [None] * columns


def _critical(questions: _Questions, names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those of the named tables that are missing, and those that can't be read."""
    missing, unreadable = [], []
    for name in names:
        readable = _readable(questions, name if "." in name else f"public.{name}")
        if readable is None:
            missing.append(name)
        elif not readable:
            unreadable.append(name)
    return tuple(missing), tuple(unreadable)


def _readable(questions: _Questions, name: str) -> bool | None:
    """Whether a table can be read; None if there is none of this name."""
    try:
        rows = questions.ask(_READABLE, name=name)
    except PrivilegesMissingError:  # of the schema
        return False
    except QueryFailedError:  # not a name
        return None
    return bool(rows[0][0]) if rows else None
