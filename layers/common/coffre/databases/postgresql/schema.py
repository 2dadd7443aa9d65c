"""Restoring what isn't rows: the schema before the rows, the schema after them, sequences, large objects.

The order is pg_restore's own, in steps: tables first; then the rows; then indexes, constraints and triggers;
grants after that, because a table's owner may lack rights that loading needs; last the refresh of
materialized views, and at the very end event triggers, which would run with every statement that comes after.
Source: ``RestoreArchive`` and ``_tocEntryRestorePass`` in pg_backup_archiver.c
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import groupby
from pathlib import Path

from coffre.databases.postgresql.archive import ArchiveEntry, read_scripts
from coffre.databases.postgresql.complaints import Complaint, read_complaints, suspects
from coffre.databases.postgresql.connection import Session, literal, open_session, qualified
from coffre.databases.postgresql.copy import run_script
from coffre.databases.postgresql.dump import list_entries
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools
from coffre.errors import ConnectionLostError, ToolFailedError
from coffre.vault.parts import Relation

_GRANTS = frozenset({"ACL", "DEFAULT ACL"})
_REFRESHES = frozenset({"MATERIALIZED VIEW DATA"})
_ALONE = frozenset({"INDEX ATTACH", "PUBLICATION", "STATISTICS"})
"""Kinds that aren't restored beside others, see `SchemaArchive.indexes`.  The latter two, and subscriptions,
are made by one statement and given to their owner by another: it must be told which of them failed."""

_LAST = "EVENT TRIGGER"
SUBSCRIPTION = "SUBSCRIPTION"
_SUPERUSERS = frozenset(
    {
        "ACCESS METHOD",
        "ACL",
        "CAST",
        "DEFAULT ACL",
        "EVENT TRIGGER",
        "EXTENSION",
        "FOREIGN DATA WRAPPER",
        "OPERATOR CLASS",
        "OPERATOR FAMILY",
        "PROCEDURAL LANGUAGE",
        "PUBLICATION",
        "PUBLICATION TABLES IN SCHEMA",
        "SECURITY LABEL",
        "SERVER",
        "SUBSCRIPTION",
        "SUBSCRIPTION TABLE",
        "TEXT SEARCH PARSER",
        "TEXT SEARCH TEMPLATE",
        "TRANSFORM",
        "USER MAPPING",
    }
)
"""What a superuser may restore without running the database's own code, and others mostly can't."""

SEQUENCE_BATCH = 200


@dataclass(frozen=True)
class _Failed:
    """A run of pg_restore that left something out; ``said`` holds its standard error."""

    said: Path
    error: ToolFailedError | ConnectionLostError


@dataclass(frozen=True)
class SchemaArchive:
    """A schema archive and how to restore it.

    Attributes
    ----------
    options:
        Further options of pg_restore, for example ``--no-owner``.
    left_out:
        Dump ids of entries that must not be restored.
    restorer:
        An ordinary role that restores all but what only a superuser can.  Much of a schema runs the
        database's own code with the rights of whoever restores it: a check that is added later, a foreign
        key's casts, a domain's check on a default.
    """

    tools: Tools
    major: int
    path: Path
    target: Target
    deadline: float
    options: tuple[str, ...] = ()
    left_out: frozenset[int] = frozenset()
    restorer: str = ""
    _known: dict[tuple[str, ...], list[ArchiveEntry]] = field(default_factory=dict, compare=False, repr=False)

    def without(self, left_out: frozenset[int]) -> SchemaArchive:
        """The same without these entries."""
        return replace(self, left_out=left_out)

    def entries(self) -> list[ArchiveEntry]:
        """The archive's entries; see `list_entries`."""
        return self._listed()

    def _early(self) -> list[ArchiveEntry]:
        """Those that pg_restore counts to what comes before the rows."""
        return self._listed("--section=pre-data")

    def _listed(self, *options: str) -> list[ArchiveEntry]:
        if options not in self._known:
            listing = list_entries(self.tools, self.major, self.path, *options, deadline=self.deadline)
            self._known[options] = listing
        return self._known[options]

    def schemas(self) -> None:
        """Restore schemas alone, for a `restorer` who has to give rights on them away."""
        self._restore([e for e in self._early() if e.description == "SCHEMA"], "schemas")

    def before_rows(self, *, schemas: bool = True) -> None:
        """Restore schemas, types, functions, tables and views.

        Parameters
        ----------
        schemas:
            False if they are there already.

        Raises
        ------
        ToolFailedError
            pg_restore stops at the first error; its message names the object.
        """
        left_out = _GRANTS if schemas else _GRANTS | {"SCHEMA"}
        early = [e for e in self._early() if e.description not in left_out]
        self._restore(early, "before")

    def indexes(self, jobs: int) -> list[Complaint]:
        """Restore indexes, constraints, triggers and policies, in several sessions where that is safe.

        Two sessions that attach indexes on two levels of a partitioned table at once don't see each other's:
        the topmost index stays invalid for ever.  Attaching only writes to the catalogue, so one session
        does all of it.
        Source: https://www.postgresql.org/docs/current/sql-alterindex.html, on ATTACH PARTITION

        Subscriptions, which an archive has last, get a run of their own: each of them names the source's slot
        until `coffre.databases.postgresql.subscriptions.detach_subscriptions` is called.

        Returns
        -------
        list
            The entries that the server refused, and why; everything else is restored.

        Raises
        ------
        ToolFailedError
            If pg_restore ended without naming an entry.
        ConnectionLostError
            If its session broke twice.
        """
        later = _GRANTS | _REFRESHES
        entries = [entry for entry in self._late() if entry.description not in later]
        # Up to PostgreSQL 15 a subscription belongs to a superuser, which a restorer's roles aren't.
        unowned = ["--no-owner"] if self.restorer else []
        options = {_Manner.BESIDE: [f"--jobs={jobs}"], _Manner.ALONE: [], _Manner.SUBSCRIPTIONS: unowned}
        complaints = []
        for manner, run in groupby(entries, _manner):
            complaints += self._tried(run, "indexes", *options[manner])
        return complaints

    def grants(self) -> list[Complaint]:
        """Restore grants; returns and raises like `indexes`."""
        return self._tried([entry for entry in self._late() if entry.description in _GRANTS], "grants")

    def refreshes(self) -> list[ArchiveEntry]:
        """The materialized views that were populated, each after those that it reads."""
        return [entry for entry in self._late() if entry.description in _REFRESHES]

    def refresh(self, jobs: int) -> list[Complaint]:
        """Refresh materialized views, once grants are there; returns and raises like `indexes`."""
        return self._tried(self.refreshes(), "refresh", f"--jobs={jobs}")

    def all_after_rows(self) -> None:
        """Restore all that follows the rows, for tables that hold none: stop at the first error.

        Raises
        ------
        ToolFailedError
        """
        self._restore(self._late(), "after")

    def _late(self) -> list[ArchiveEntry]:
        before = {e.dump_id for e in self._early() if e.description not in _GRANTS}
        return [e for e in self.entries() if e.dump_id not in before and not _comes_last(e)]

    def event_triggers(self) -> None:
        """Restore the event triggers, all or none: after this no statement of ours may run as a superuser.

        Their owners must be superusers, which the source's roles aren't where a `restorer` restores.

        Raises
        ------
        CoffreError
            What the server refused.
        """
        entries = [entry.dump_id for entry in self.entries() if _comes_last(entry)]
        wanted = [dump_id for dump_id in entries if dump_id not in self.left_out]
        if not wanted:
            return
        script = self._script(wanted, "last", *(["--no-owner"] if self.restorer else []))
        # By a session of ours: the database has its settings by now, and may be one to read from only.
        seconds = self.deadline - time.monotonic()
        with open_session(self.target, seconds=seconds, application="coffre/restore") as session:
            run_script(session, script)

    def scripts(self, dump_ids: Iterable[int], codec: str) -> dict[int, str]:
        """Entries as SQL, by their numbers and in the archive's order; see `read_scripts`.

        Parameters
        ----------
        codec:
            Of the archive's text, which is in its database's encoding.
        """
        wanted = list(dump_ids)
        if not wanted:
            return {}
        chosen = self._chosen(wanted, "scripts")
        arguments = ["--verbose", f"--use-list={chosen}", "--file=-", str(self.path)]
        written = self.tools.run("pg_restore", self.major, arguments, deadline=self.deadline)
        return read_scripts(written.decode(codec), wanted)

    def late(self) -> list[ArchiveEntry]:
        """What follows the rows, in the archive's order; event triggers and what is left out excepted."""
        return [entry for entry in self._late() if entry.dump_id not in self.left_out]

    def script(self, dump_id: int) -> bytes:
        """An entry as pg_restore would send it, with the settings that it makes before.

        Newer versions of pg_restore frame what they write with commands for psql, under a random word.
        Source: CVE-2025-8714, ``restrict_key`` in pg_backup_archiver.c
        """
        return self._script([dump_id], f"one-{dump_id}")

    def _script(self, dump_ids: Iterable[int], name: str, *options: str) -> bytes:
        chosen = self._chosen(dump_ids, name)
        arguments = [*self.options, *options, f"--use-list={chosen}", "--file=-", str(self.path)]
        lines = self.tools.run("pg_restore", self.major, arguments, deadline=self.deadline).split(b"\n")
        words = [line.split()[1] for line in lines if line.startswith(b"\\restrict ")]
        framing = {b"\\restrict " + words[0], b"\\unrestrict " + words[0]} if words else set()
        return b"\n".join(line for line in lines if line not in framing)

    def _restore(self, entries: Iterable[ArchiveEntry], name: str, *options: str) -> None:
        for wanted, target in self._runs(entries):
            self._run(wanted, name, target, *options)

    def _tried(self, entries: Iterable[ArchiveEntry], name: str, *options: str) -> list[Complaint]:
        """Restore what can be restored; what the server refused, and why."""
        complaints = []
        for wanted, target in self._runs(entries):
            complaints += self._tried_as(target, wanted, name, *options)
        return complaints

    def _tried_as(
        self, target: Target, entries: Sequence[ArchiveEntry], name: str, *options: str
    ) -> list[Complaint]:
        failed = self._failed(target, entries, name, *options)
        if failed is None:
            return []
        # Which of parallel jobs' messages is about which entry can't be told: they are tried again in turn.
        # Of others the first one counts: the second may be that a part of what makes an entry is there.
        known = {entry.dump_id: entry for entry in entries}
        parallel = any(option.startswith("--jobs") for option in options)
        first = [] if parallel else read_complaints(failed.said, known)
        numbers = suspects(failed.said)
        again = [entry for entry in entries if entry.dump_id in numbers]
        if not again:
            raise failed.error
        failed = self._failed(target, again, f"{name}-again", *(options if not parallel else ()))
        if failed is None:
            return []
        if isinstance(failed.error, ConnectionLostError):  # it complains about all that it didn't come to
            raise failed.error
        complaints = read_complaints(failed.said, {entry.dump_id: entry for entry in again})
        if not complaints:
            raise failed.error
        told = {complaint.dump_id: complaint for complaint in first}
        return [told.get(complaint.dump_id, complaint) for complaint in complaints]

    def _failed(
        self, target: Target, entries: Sequence[ArchiveEntry], name: str, *options: str
    ) -> _Failed | None:
        """Restore the entries, going on after errors; None if there were none."""
        said = self.path.with_name(f"{name}.said")
        try:
            self._run(entries, name, target, *options, said=said)
        except (ToolFailedError, ConnectionLostError) as error:
            return _Failed(said, error)
        return None

    def _runs(self, entries: Iterable[ArchiveEntry]) -> Iterator[tuple[list[ArchiveEntry], Target]]:
        """What is restored in one go, in order, and by whom."""
        wanted = [entry for entry in entries if entry.dump_id not in self.left_out]
        if not self.restorer:
            if wanted:
                yield wanted, self.target
            return
        ordinary = replace(self.target, user=self.restorer)
        for privileged, run in groupby(wanted, _for_superusers):
            yield list(run), self.target if privileged else ordinary

    def _run(
        self,
        entries: Sequence[ArchiveEntry],
        name: str,
        target: Target,
        *options: str,
        said: Path | None = None,
    ) -> None:
        """Stop at the first error, or with ``said`` go on, and write there what was said of each."""
        chosen = self._chosen([entry.dump_id for entry in entries], name)
        errors = "--exit-on-error" if said is None else "--verbose"
        arguments = [errors, *self.options, *options, f"--use-list={chosen}", str(self.path)]
        self.tools.run("pg_restore", self.major, arguments, target, deadline=self.deadline, stderr=said)

    def _chosen(self, dump_ids: Iterable[int], name: str) -> Path:
        """A list for ``--use-list``."""
        chosen = self.path.with_name(f"{name}.list")
        chosen.write_text("".join(f"{dump_id};\n" for dump_id in dump_ids))
        return chosen


def _comes_last(entry: ArchiveEntry) -> bool:
    """Whether it is an event trigger, or the comment of one."""
    return _is_or_describes(entry, _LAST)


class _Manner(Enum):
    """How what follows the rows is restored: in several sessions, or in one."""

    BESIDE = auto()
    ALONE = auto()
    SUBSCRIPTIONS = auto()


def _manner(entry: ArchiveEntry) -> _Manner:
    if _is_or_describes(entry, SUBSCRIPTION):
        return _Manner.SUBSCRIPTIONS
    return _Manner.ALONE if entry.description in _ALONE else _Manner.BESIDE


def _is_or_describes(entry: ArchiveEntry, kind: str) -> bool:
    """Whether it is an object of that kind, or the comment or security label of one."""
    described = entry.description in ("COMMENT", "SECURITY LABEL")
    return entry.description == kind or (described and entry.name.startswith(f"- {kind} "))


def _for_superusers(entry: ArchiveEntry) -> bool:
    """Whether a superuser has to restore it; the comment of such an object counts as one."""
    if entry.description == "COMMENT":
        return any(f" {kind} " in f" {entry.name}" for kind in _SUPERUSERS)
    return entry.description in _SUPERUSERS


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
