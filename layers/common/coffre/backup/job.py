"""One attempt at one backup, and what it works with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from coffre.catalogue.index import Catalogue
from coffre.catalogue.ledger import Progress
from coffre.databases.postgresql.target import Source, Target
from coffre.databases.postgresql.tools import Tools
from coffre.databases.registration import Registration
from coffre.events.backup import BackupRequest
from coffre.notify.publisher import Publisher
from coffre.vault.keys import SealKeys
from coffre.vault.layout import Layout
from coffre.vault.store import ObjectStore
from coffre.workers import Message, WorkerPool

COMMIT_SECONDS = 20.0
"""Seconds before the function's end after which nothing is committed any more."""


VERSION = 1
"""Of what the functions of a backup on the state machine leave for each other: records of the ledger, papers
in the vault.  It counts up with each change after which functions from before it, or from after it, would
read them wrongly (``tests/contract/test_versions.py``)."""

LET_GO_SECONDS = 10.0
"""Until a snapshot's holder, which looks every five seconds, has seen that somebody waits for too long."""


@dataclass(frozen=True)
class Services:
    """What a backup works with.

    Attributes
    ----------
    keys:
        Of sealed backups.
    start_workers:
        Starts worker processes: (one setup message for each, what to call every second) -> a pool.
    start_machine:
        Starts the state machine: (the execution's name, its input); None where there is none.
    is_running:
        Whether an execution of it, by its ARN, still goes on.
    """

    store: ObjectStore
    keys: SealKeys
    catalogue: Catalogue
    publisher: Publisher
    tools: Tools
    scratch: Path
    max_run_seconds: int
    start_workers: Callable[[Sequence[Message], Callable[[], None]], WorkerPool]
    start_machine: Callable[[str, dict[str, str]], None] | None = None
    is_running: Callable[[str], bool] = lambda _: True


@dataclass(frozen=True)
class Job:
    """One attempt at one backup.  ``ends`` is on `time.monotonic`'s clock."""

    request: BackupRequest
    database: str
    registration: Registration
    source: Source
    id: str
    attempt: str
    started: datetime
    ends: float

    @property
    def target(self) -> Target:
        """Where it reads."""
        return self.source.target

    @property
    def layout(self) -> Layout:
        """The keys of the database's vault."""
        return Layout(self.database)

    @property
    def prefix(self) -> str:
        """The prefix of what this attempt writes."""
        return self.layout.attempt(self.id, self.attempt)

    @property
    def application(self) -> str:
        """How the sessions of this attempt show in the server's list."""
        return f"coffre/{self.attempt}"

    @property
    def seconds_left(self) -> float:
        """Until nothing may be committed any more."""
        return self.ends - COMMIT_SECONDS - time.monotonic()

    @property
    def lock_seconds(self) -> float:
        """How long whoever reads under the snapshot waits for a table's lock.

        An ALTER TABLE that queues behind the snapshot's locks makes all readers queue behind it.  How long
        that may take is the holder's to say, and what it says is worth another attempt: they give up later.
        """
        left, waiters = max(1.0, self.seconds_left), self.registration.waiters
        return left if waiters is None else min(left, waiters + LET_GO_SECONDS)

    def require_own_version(self, run: Progress) -> None:
        """Refuse to go on with what another version of Coffre began.

        Raises
        ------
        RunOfAnotherVersionError
        """
        run.require_version(VERSION, f"the backup {self.id} of {self.database}")
