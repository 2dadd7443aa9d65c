"""Whether a backup on the state machine still gets anywhere."""

from __future__ import annotations

import time

from coffre.backup.job import Job
from coffre.catalogue.ledger import Ledger, Progress
from coffre.databases.postgresql.activity import copied_bytes
from coffre.databases.postgresql.connection import open_session
from coffre.errors import BackupStalledError, CoffreError
from coffre.ids import moment, utc_now

ASK_SECONDS = 10.0
"""Between two questions to the source; what was copied must differ."""

ANSWER_SECONDS = 5.0


class StallGuard:
    """Ends a backup in which nothing moves: no batch, no slice of a table, and not a byte of any COPY.

    Workers tell the ledger what they have read when a COPY ends, and one may take longer than a backup may
    stand still.  So when half of that time is over, the server is asked how far its COPYs are.
    """

    def __init__(self) -> None:
        self._copied: int | None = None
        self._ask_at = 0.0

    def check(self, job: Job, ledger: Ledger, state: Progress) -> None:
        """Look once; rows that flow are told to the ledger.

        Raises
        ------
        BackupStalledError
            If nothing has moved for as long as the registration allows.
        """
        limit = 60.0 * job.registration.stall_minutes
        idle = (utc_now() - moment(state.moved)).total_seconds()
        if not state.batches or idle <= limit / 2:
            self._copied = None
            return
        if time.monotonic() < self._ask_at:
            return
        before, self._copied = self._copied, self._ask(job)
        self._ask_at = time.monotonic() + ASK_SECONDS
        if before is None:
            return
        if self._copied != before:
            ledger.moving()
        elif idle > limit:
            raise BackupStalledError(f"the backup {job.id} of {job.database} got no further for {idle:.0f} s")

    def _ask(self, job: Job) -> int:
        """Bytes of all COPYs; those that were seen before, if the source doesn't answer."""
        try:
            with open_session(job.target, seconds=ANSWER_SECONDS, application=job.application) as session:
                return copied_bytes(session, job.application)
        except CoffreError:
            return self._copied or 0
