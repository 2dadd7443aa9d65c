"""Putting rows into a database that is being restored, and comparing what is in it, by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from coffre.databases.postgresql import compare
from coffre.databases.postgresql.absent import AbsentRows
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.encodings import recoded
from coffre.databases.postgresql.large_objects import grant, make
from coffre.databases.postgresql.load import relation_of
from coffre.databases.postgresql.load_path import path_of
from coffre.databases.postgresql.load_plan import load_items
from coffre.databases.postgresql.refused import load_failed, under_paths
from coffre.databases.postgresql.schema import set_sequences
from coffre.databases.postgresql.set_aside import SetAsideChecks
from coffre.databases.postgresql.target import Target
from coffre.results import Finding
from coffre.timing import Stopwatch
from coffre.vault.contents import Contents, Section
from coffre.vault.manifest import Manifest
from coffre.workers import Message, WorkerPool, workers_for


@dataclass(frozen=True)
class Rebuild:
    """A database under restoration.

    Attributes
    ----------
    reading:
        Where workers read chunks: ``{"bucket": name}``, or ``{"urls": path}`` of a ticket's URLs; and with
        which ``seal`` (`coffre.vault.sealing.Seal.hand_over`).
    as_owner:
        Whether each table's rows are loaded by a session that logged in as its owner.
    alone:
        Whether nobody else uses the database yet: tables may be locked while their rows are loaded.
    absent:
        The rows that the backup has and ``contents`` hasn't; None: there are none.
    """

    target: Target
    manifest: Manifest
    contents: Contents
    watch: Stopwatch
    start_workers: Callable[[Sequence[Message], Callable[[], None]], WorkerPool]
    reading: Message
    as_owner: bool
    alone: bool
    absent: AbsentRows | None = None

    def session(self) -> Session:
        """A session of our own with the database, for as long as the run has."""
        return open_session(self.target, seconds=self.watch.seconds_left, application="coffre/restore")

    def make_large_objects(self, roles: Mapping[str, str], *, owned: bool = True) -> None:
        """Make the large objects, which `load` fills: `coffre.databases.postgresql.large_objects.make`."""
        if self.contents.large_objects:
            with self.session() as session:
                make(session, self.contents.large_objects, roles, owned=owned)

    def grant_large_objects(self, roles: Mapping[str, str]) -> None:
        """Give the large objects their rights, when nothing is written into them any more."""
        if self.contents.large_objects:
            with self.session() as session:
                grant(session, self.contents.large_objects, roles)

    def load(self, sections: Iterable[Section], told: Callable[[int, int], None]) -> list[Finding]:
        """Load all rows, and give the sequences their values.

        Parameters
        ----------
        sections:
            The largest first.
        told:
            Called with the rows and bytes of each item that is done.

        Returns
        -------
        list
            The CHECK constraints that the rows violate (`coffre.databases.postgresql.set_aside`), and the
            tables whose rows needed a search path (`coffre.databases.postgresql.load_path`).

        Raises
        ------
        CoffreError
            What the server said, if rows can't be loaded so either.
        """
        exceptions: list[Finding] = []
        sizes = {relation: end.bytes for relation, end in self.contents.ends.items()}
        items = load_items(sections, sizes, workers=self._worker_count, alone=self.alone)
        refused = self._load(items, told)
        if refused:
            checks = SetAsideChecks(self.open_as)
            relations = {item["relation"]: relation_of(item) for item, _ in refused}
            if checks.take_off(relations.values()):
                refused = self._load((item for item, _ in refused), told)
            exceptions = self._load_by_path(refused, told) + checks.put_back(self.absent)
        with self.session() as session:
            set_sequences(session, self.contents.sequences)
        return exceptions

    def _load(
        self, items: Iterable[Message], told: Callable[[int, int], None]
    ) -> list[tuple[Message, Message]]:
        """Load the items; those whose rows the server refused, and what it said."""
        refused = []
        with self._workers("load", {**self.reading, "as_owner": self.as_owner}) as pool:
            for item, answer in pool.map(items):
                told(answer["rows"], answer["bytes"])
                if "refused" in answer:
                    refused.append((item, answer["refused"]))
            pool.finish()
        return refused

    def _load_by_path(
        self, refused: list[tuple[Message, Message]], told: Callable[[int, int], None]
    ) -> list[Finding]:
        """Load what was refused under a search path; the tables that this was done for."""
        items, exceptions = under_paths(refused, path_of(self.contents.database))
        if items and self._load(items, told):
            raise load_failed(*refused[0])
        return exceptions

    def open_as(self, owner: str) -> Session:
        """A session for code of the owner's: as that role where rows are loaded so."""
        user = recoded(owner, self._encoding, "UTF8") if self.as_owner else self.target.user
        target = replace(self.target, user=user)
        return open_session(target, seconds=self.watch.seconds_left, application="coffre/restore")

    def compare(self, here: int) -> tuple[list[Finding], int, int]:
        """Compare every relation's rows and every sequence with what was recorded.

        Parameters
        ----------
        here:
            The major version of this database's server.

        Returns
        -------
        tuple
            What differs, and how many tables and rows were compared.
        """
        source = self.manifest.engine.major
        findings, tables, rows = [], 0, 0
        with self._workers("compare", {}) as pool:
            for item, answer in pool.map(compare.compare_items(compare.expectations(self.contents))):
                if relation_of(item).is_table:
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
            "encoding": self._encoding,
            **more,
        }
        return self.start_workers([setup] * self._worker_count, self.watch.check)

    @property
    def _encoding(self) -> str:
        return self.manifest.settings["client_encoding"]

    @property
    def _worker_count(self) -> int:
        ends = self.contents.ends.values()
        return workers_for(sum(end.bytes for end in ends), len(ends))
