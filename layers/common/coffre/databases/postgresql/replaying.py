"""A snapshot that changes hands on a standby: no record that is being replayed may take rows from under it.

A standby that is about to replay the removal of rows, which the primary doesn't know to be in use (its
standby's feedback was interrupted), looks once who may still see them, and waits until those have ended.  Who
imports one of their snapshots meanwhile isn't among them: as soon as his predecessor lets go, rows that his
snapshot shows are gone, without any error.  Records that come later look again, and find him.
Source: ``ResolveRecoveryConflictWithVirtualXIDs`` in standby.c
"""

from __future__ import annotations

import time

from coffre.databases.postgresql.connection import Session
from coffre.errors import SnapshotLostError

REPLAY_SECONDS = 60.0
"""How long a record may take; a standby waits for those who see rows for half a minute, by default."""

POLL_SECONDS = 0.1

# Nothing is being replayed: all that was received is, or the standby waits for more (who may not see what
# others do relies on the former), or it is paused, which it is between records.
_IDLE = """
SELECT CASE WHEN NOT pg_is_in_recovery() THEN true ELSE
    pg_get_wal_replay_pause_state() = 'paused'
    OR (EXISTS (SELECT FROM pg_stat_wal_receiver)
        AND coalesce(pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn(), false))
    OR EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'startup'
               AND wait_event IN ('RecoveryWalStream', 'RecoveryRetrieveRetryInterval')) END
"""


def await_record(session: Session) -> None:
    """Wait on a standby until the record is replayed that was when the session's snapshot was imported.

    If the predecessor is still there afterwards, nobody took rows from under the snapshot.

    Raises
    ------
    SnapshotLostError
        It isn't in `REPLAY_SECONDS`.
    """
    start, until = session.value("SELECT pg_last_wal_replay_lsn()::text"), time.monotonic() + REPLAY_SECONDS
    while session.value("SELECT pg_last_wal_replay_lsn()::text") == start and not session.value(_IDLE):
        if time.monotonic() > until:
            raise SnapshotLostError(
                f"the standby {session.target.label} replayed nothing for {REPLAY_SECONDS:.0f} s while its "
                "snapshot changed hands: it may wait to remove rows that the snapshot shows"
            )
        time.sleep(POLL_SECONDS)
