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
from coffre.databases.postgresql.connection import Session, literal, qualified
from coffre.databases.postgresql.dump import list_entries
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools
from coffre.vault.parts import Relation

_GRANTS = frozenset({"ACL", "DEFAULT ACL"})
_LAST = frozenset({"EVENT TRIGGER"})
SEQUENCE_BATCH = 200


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

    def after_rows(self, jobs: int) -> None:
        """Restore indexes, constraints, triggers, policies; then grants; then refresh materialized views."""
        before = {e.dump_id for e in self.entries("--section=pre-data") if e.description not in _GRANTS}
        late = [e for e in self.entries() if e.dump_id not in before and e.description not in _LAST]
        self._restore(late, "after", f"--jobs={jobs}")

    def event_triggers(self) -> None:
        """Restore the event triggers: after this no statement of ours may run as a superuser."""
        self._restore([e for e in self.entries() if e.description in _LAST], "last")

    def _restore(self, entries: Iterable[ArchiveEntry], name: str, *options: str) -> None:
        wanted = [entry for entry in entries if entry.dump_id not in self.left_out]
        if not wanted:
            return
        chosen = self.path.with_name(f"{name}.list")
        chosen.write_text("".join(f"{entry.dump_id};\n" for entry in wanted))
        arguments = ["--exit-on-error", *self.options, *options, f"--use-list={chosen}", str(self.path)]
        self.tools.run("pg_restore", self.major, arguments, self.target, deadline=self.deadline)


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
