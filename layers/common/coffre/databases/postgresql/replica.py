"""A named replica: it must be the database's own, and as new as its primary, before a backup reads it."""

from __future__ import annotations

import time
from functools import partial

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.identity import system_identifier
from coffre.databases.postgresql.preflight import refusal
from coffre.errors import ReplicaBehindError, ReplicaForeignError
from coffre.results import Finding

POLL_SECONDS = 0.25

_DATABASE = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
# What was inserted, not what was written: a commit that didn't wait for the disk is one, too.  Where a record
# fills its page, the position is that after the next page's header (XLogBytePosToRecPtr in xlog.c), which no
# replay reaches before there is another record.
_NEWEST = """
SELECT lsn - CASE WHEN (lsn - '0/0') % pg_size_bytes(current_setting('wal_segment_size')) = 40 THEN 40
                  WHEN (lsn - '0/0') % current_setting('wal_block_size')::int = 24 THEN 24 ELSE 0 END
FROM pg_current_wal_insert_lsn() AS lsn
"""
_REPLAYED = "SELECT pg_last_wal_replay_lsn() >= :lsn::pg_lsn, pg_wal_lsn_diff(:lsn, pg_last_wal_replay_lsn())"


def examine_replica(replica: Session, primary: Session, *, patience: float) -> list[Finding]:
    """What speaks against a backup of this replica, after waiting until it has what its primary has now.

    So a backup holds everything that was committed before it began, and its age is never flattered by a
    replica that fell behind or lost its primary: such a one still answers, with old rows.

    Parameters
    ----------
    patience:
        Seconds to wait for the replica, at most.
    """
    refuse = partial(refusal, ReplicaForeignError, "replica")
    if not replica.value("SELECT pg_is_in_recovery()"):
        return [refuse("the registered replica follows nobody: it was promoted, or never was a replica")]
    if primary.value("SELECT pg_is_in_recovery()"):
        return [refuse("the registered database is itself a replica, so nothing says how new its replica is")]
    systems = {system_identifier(primary), system_identifier(replica)} - {None}
    if len(systems) > 1:
        return [refuse("the registered replica and the registered database are different servers")]
    if primary.value(_DATABASE) != replica.value(_DATABASE):
        return [refuse("the registered replica and the registered database are different databases")]
    return _await(replica, str(primary.value(_NEWEST)), patience)


def _await(replica: Session, lsn: str, patience: float) -> list[Finding]:
    until = time.monotonic() + patience
    while True:
        ((there, behind),) = replica.run(_REPLAYED, lsn=lsn)
        if there:
            return []
        if time.monotonic() > until:
            message = f"the replica is {behind} bytes of WAL behind what its primary had {patience:.0f} s ago"
            return [refusal(ReplicaBehindError, "replica", message)]
        time.sleep(POLL_SECONDS)
