"""Putting rows into a database that is being restored, and comparing what is in it, by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from coffre.databases.postgresql import compare
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.load import load_items
from coffre.databases.postgresql.schema import set_sequences
from coffre.databases.postgresql.target import Target
from coffre.results import Finding
from coffre.timing import Stopwatch
from coffre.vault.contents import Contents, Section
from coffre.vault.manifest import Manifest
from coffre.workers import Message, WorkerPool

WORKERS = 2


@dataclass(frozen=True)
class Rebuild:
    """A database under restoration.

    Attributes
    ----------
    reading:
        Where workers read chunks: ``{"bucket": name}``, or ``{"urls": path}`` of a ticket's URLs.
    as_owner:
        Whether each table's rows are loaded by a session that logged in as its owner.
    """

    target: Target
    manifest: Manifest
    contents: Contents
    watch: Stopwatch
    start_workers: Callable[[Sequence[Message], Callable[[], None]], WorkerPool]
    reading: Message
    as_owner: bool

    def session(self) -> Session:
        """A session of our own with the database, for as long as the run has."""
        return open_session(self.target, seconds=self.watch.seconds_left, application="coffre/restore")

    def load(self, sections: Iterable[Section], told: Callable[[int, int], None]) -> None:
        """Load all rows, and give the sequences their values.

        Parameters
        ----------
        told:
            Called with the rows and bytes of each item that is done.
        """
        items = load_items((section.relation, section.chunks) for section in sections)
        with self._workers("load", {**self.reading, "as_owner": self.as_owner}) as pool:
            for _, answer in pool.map(items):
                told(answer["rows"], answer["bytes"])
            pool.finish()
        with self.session() as session:
            set_sequences(session, self.contents.sequences)

    def compare(self, here: int) -> tuple[list[Finding], int, int]:
        """Compare every relation's rows and every sequence with what was recorded.

        Parameters
        ----------
        here:
            The major version of this database's server.

        Returns
        -------
        tuple
            What differs, and how many relations and rows were compared.
        """
        source = self.manifest.engine.server_version_num // 10_000
        findings, tables, rows = [], 0, 0
        with self._workers("compare", {}) as pool:
            for item, answer in pool.map(compare.compare_items(compare.expectations(self.contents))):
                tables, rows = tables + 1, rows + int(answer["rows"])
                finding = compare.judge(item, answer, source=source, here=here)
                findings += [finding] if finding else []
            pool.finish()
        with self.session() as session:
            findings += compare.compare_sequences(session, self.contents)
        return findings, tables, rows

    def _workers(self, task: str, more: Message) -> WorkerPool:
        setup = {
            "task": task,
            "target": asdict(self.target),
            "seconds": self.watch.seconds_left,
            "encoding": self.manifest.settings["client_encoding"],
            **more,
        }
        return self.start_workers([setup] * WORKERS, self.watch.check)
