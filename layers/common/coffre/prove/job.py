"""A proof under way, and what it works with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from coffre.databases.postgresql.checks import Check
from coffre.databases.postgresql.rebuild import Rebuild
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.tools import Tools
from coffre.results import Sample
from coffre.timing import Stopwatch
from coffre.vault.contents import Contents
from coffre.vault.manifest import Manifest
from coffre.vault.ticket import TicketReader
from coffre.workers import Message, WorkerPool


@dataclass(frozen=True)
class Services:
    """What a proof works with; see `coffre.backup.job.Services`.

    Attributes
    ----------
    scratch_bytes:
        Of scratch space that a proof may fill, if there are so many.
    """

    postgres: Path
    scratch: Path
    scratch_bytes: int
    start_workers: Callable[[Sequence[Message], Callable[[], None]], WorkerPool]


@dataclass(frozen=True)
class Proof:
    """A proof under way; ``sample``: how much of the backup is restored, if not all."""

    rebuild: Rebuild
    reader: TicketReader
    folder: Path
    server: EphemeralServer
    tools: Tools
    checks: tuple[Check, ...]
    rehearsal: bool
    sample: Sample | None = None

    @property
    def manifest(self) -> Manifest:
        """The backup's manifest."""
        return self.rebuild.manifest

    @property
    def contents(self) -> Contents:
        """What the backup consists of."""
        return self.rebuild.contents

    @property
    def watch(self) -> Stopwatch:
        """The time that is left."""
        return self.rebuild.watch
