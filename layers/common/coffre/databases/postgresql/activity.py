"""What a source is busy with, and what a snapshot that is held open costs it."""

from __future__ import annotations

from coffre.databases.postgresql.connection import Session

_SIZE = """
SELECT (coalesce(sum(pg_table_size(c.oid)), 0) + pg_relation_size('pg_catalog.pg_largeobject'))::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND left(n.nspname, 3) <> 'pg_'
  AND n.nspname <> 'information_schema'
"""

_TABLES = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND left(n.nspname, 3) <> 'pg_'
  AND n.nspname <> 'information_schema'
"""

_DEAD_ROWS = """
SELECT ((SELECT coalesce(sum(n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables)
        / nullif(extract(epoch FROM now() - stats_reset), 0))::float8
FROM pg_stat_database WHERE datname = current_database()
"""

_OLDEST = "SELECT coalesce(max(age(backend_xmin)), 0)::bigint FROM pg_stat_activity"

_ACTIVE = """
SELECT count(*) FROM pg_stat_activity
WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND application_name NOT LIKE 'coffre%'
"""

_LAG = """
SELECT CASE WHEN pg_is_in_recovery() THEN
  CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
       ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp()) END
ELSE (SELECT extract(epoch FROM max(replay_lag)) FROM pg_stat_replication) END::float8
"""

_COPIED = """
SELECT coalesce(sum(p.bytes_processed), 0)::bigint
FROM pg_stat_progress_copy p JOIN pg_stat_activity a USING (pid) WHERE a.application_name = :application
"""


def sees_others(session: Session) -> bool:
    """Whether the session's role is shown what other sessions do, and how far replicas are.

    Source: https://www.postgresql.org/docs/current/monitoring-stats.html
    """
    return bool(session.value("SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"))


def active_sessions(session: Session) -> int:
    """Sessions of others that are busy at this moment."""
    return int(session.value(_ACTIVE))


def replica_lag(session: Session) -> float | None:
    """Seconds that the slowest replica is behind; of a replica, its own.  None if there is none."""
    value = session.value(_LAG)
    return None if value is None else float(value)


def copied_bytes(session: Session, application: str) -> int:
    """Bytes that the COPYs have sent which sessions of this name and the same role run at this moment.

    Source: https://www.postgresql.org/docs/current/progress-reporting.html#COPY-PROGRESS-REPORTING
    """
    return int(session.value(_COPIED, application=application))


def size_on_disk(session: Session) -> int:
    """Bytes on disk of all that a backup reads: tables with TOAST, without indexes, and large objects."""
    return int(session.value(_SIZE))


def lockable_tables(session: Session) -> int:
    """How many tables a backup locks."""
    return int(session.value(_TABLES))


def dead_rows_a_second(session: Session) -> float | None:
    """Rows updated or deleted in a second, on average since the statistics were reset; None if unknown."""
    value = session.value(_DEAD_ROWS)
    return None if value is None else float(value)


def oldest_snapshot(session: Session) -> int:
    """Transactions that the oldest snapshot of all sessions is behind."""
    return int(session.value(_OLDEST))
