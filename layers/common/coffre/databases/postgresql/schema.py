"""Restoring what isn't rows: the schema before the rows, the schema after them, sequences, large objects.

The order is pg_restore's own, in steps: tables first; then the rows; then indexes, constraints and triggers;
grants after that, because a table's owner may lack rights that loading needs; last the refresh of
materialized views, and at the very end event triggers, which would run with every statement that comes after.
Source: ``RestoreArchive`` and ``_tocEntryRestorePass`` in pg_backup_archiver.c
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from coffre.databases.postgresql.archive import ArchiveEntry
from coffre.databases.postgresql.complaints import Complaint, read_complaints, suspects
from coffre.databases.postgresql.connection import Session, literal, qualified
from coffre.databases.postgresql.dump import list_entries
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools
from coffre.errors import ToolFailedError
from coffre.vault.parts import Relation

_GRANTS = frozenset({"ACL", "DEFAULT ACL"})
_LAST = frozenset({"EVENT TRIGGER"})
SEQUENCE_BATCH = 200


@dataclass(frozen=True)
class _Failed:
    """A run of pg_restore that left something out; ``said`` holds its standard error."""

    said: Path
    error: ToolFailedError


@dataclass(frozen=True)
class SchemaArchive:
    """A schema archive and how to restore it.

    Attributes
    ----------
    options:
        Further options of pg_restore, for example ``--no-owner``.
    left_out:
        Dump ids of entries that must not be restored.
    """

    tools: Tools
    major: int
    path: Path
    target: Target
    deadline: float
    options: tuple[str, ...] = ()
    left_out: frozenset[int] = frozenset()

    def entries(self, *options: str) -> list[ArchiveEntry]:
        """The archive's entries; see `list_entries`."""
        return list_entries(self.tools, self.major, self.path, *options, deadline=self.deadline)

    def before_rows(self) -> None:
        """Restore schemas, types, functions, tables and views.

        Raises
        ------
        ToolFailedError
            pg_restore stops at the first error; its message names the object.
        """
        early = [e for e in self.entries("--section=pre-data") if e.description not in _GRANTS]
        self._restore(early, "before")

    def after_rows(self, jobs: int) -> list[Complaint]:
        """Restore indexes, constraints, triggers, policies; then grants; then refresh materialized views.

        Returns
        -------
        list
            The entries that the server refused, and why; everything else is restored.

        Raises
        ------
        ToolFailedError
            If pg_restore ended without naming an entry.
        """
        before = {e.dump_id for e in self.entries("--section=pre-data") if e.description not in _GRANTS}
        late = [e for e in self.entries() if e.dump_id not in before and not _is_last(e)]
        failed = self._tried(late, "after", f"--jobs={jobs}")
        if failed is None:
            return []
        # Which of parallel jobs' messages is about which entry can't be told: they are tried again in turn.
        numbers = suspects(failed.said)
        again = [entry for entry in late if entry.dump_id in numbers]
        if not again:
            raise failed.error
        failed = self._tried(again, "again")
        if failed is None:
            return []
        complaints = read_complaints(failed.said, {entry.dump_id: entry for entry in again})
        if not complaints:
            raise failed.error
        return complaints

    def event_triggers(self) -> None:
        """Restore the event triggers: after this no statement of ours may run as a superuser."""
        self._restore([entry for entry in self.entries() if _is_last(entry)], "last")

    def statements(self, dump_id: int) -> str:
        """An entry as SQL."""
        chosen = self._chosen([dump_id], "one")
        arguments = [f"--use-list={chosen}", "--file=-", str(self.path)]
        return self.tools.run("pg_restore", self.major, arguments, deadline=self.deadline).decode(
            "utf-8", "replace"
        )

    def _restore(self, entries: Iterable[ArchiveEntry], name: str, *options: str) -> None:
        wanted = self._wanted(entries)
        if wanted:
            chosen = self._chosen(wanted, name)
            arguments = ["--exit-on-error", *self.options, *options, f"--use-list={chosen}", str(self.path)]
            self.tools.run("pg_restore", self.major, arguments, self.target, deadline=self.deadline)

    def _tried(self, entries: Iterable[ArchiveEntry], name: str, *options: str) -> _Failed | None:
        """Restore what can be restored; None if that was all."""
        wanted = self._wanted(entries)
        if not wanted:
            return None
        said = self.path.with_name(f"{name}.said")
        chosen = self._chosen(wanted, name)
        arguments = ["--verbose", *self.options, *options, f"--use-list={chosen}", str(self.path)]
        try:
            self.tools.run(
                "pg_restore", self.major, arguments, self.target, deadline=self.deadline, stderr=said
            )
        except ToolFailedError as error:
            return _Failed(said, error)
        return None

    def _wanted(self, entries: Iterable[ArchiveEntry]) -> list[int]:
        return [entry.dump_id for entry in entries if entry.dump_id not in self.left_out]

    def _chosen(self, dump_ids: Iterable[int], name: str) -> Path:
        """A list for ``--use-list``."""
        chosen = self.path.with_name(f"{name}.list")
        chosen.write_text("".join(f"{dump_id};\n" for dump_id in dump_ids))
        return chosen


def _is_last(entry: ArchiveEntry) -> bool:
    """Whether it is an event trigger, or the comment of one."""
    return entry.description in _LAST or (
        entry.description == "COMMENT" and entry.name.startswith("- EVENT TRIGGER ")
    )


def restore_large_objects(
    tools: Tools,
    major: int,
    archive: Path,
    target: Target,
    *,
    deadline: float,
    options: tuple[str, ...] = (),
) -> None:
    """Restore all large objects with their owners, grants and comments.

    Parameters
    ----------
    options:
        Further options of pg_restore, for example ``--no-owner``.

    Raises
    ------
    ToolFailedError
    """
    tools.run("pg_restore", major, ["--exit-on-error", *options, str(archive)], target, deadline=deadline)


def set_sequences(session: Session, sequences: Sequence[Relation]) -> None:
    """Give the sequences their recorded values."""
    for start in range(0, len(sequences), SEQUENCE_BATCH):
        calls = (
            f"pg_catalog.setval({literal(qualified(s.schema, s.name))}::regclass, {int(str(s.last_value))}, "
            f"{'true' if s.is_called else 'false'})"
            for s in sequences[start : start + SEQUENCE_BATCH]
        )
        session.run(f"SELECT {', '.join(calls)}")
