"""Tables whose rows weren't restored, and what therefore says nothing, whether it worked or not.

PostgreSQL itself tells what a statement read, through views, functions and text that is run as SQL alike: it
counts the scans of each table and index in a transaction.  Not counted, and so not seen, are reads by
``ctid`` and TABLESAMPLE.  PostgreSQL 14 counts nothing in a proof's box, because its collector wants a
network; there the locks that a transaction holds tell as much, unless an error gave them back.
Sources: https://www.postgresql.org/docs/current/monitoring-stats.html (``pg_stat_xact_all_tables``),
``pgstat_init`` in PostgreSQL 14's pgstat.c
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from coffre.databases.postgresql.connection import Session, literal, qualified
from coffre.errors import (
    CoffreError,
    ConnectionLostError,
    DeadlineExceededError,
    DiskFullError,
    QueryFailedError,
)
from coffre.readable import first_of
from coffre.vault.parts import Relation

_SCANS = """
SELECT schemaname::text, relname::text, coalesce(seq_scan, 0) + coalesce(idx_scan, 0)
FROM pg_catalog.pg_stat_xact_all_tables WHERE coalesce(seq_scan, 0) + coalesce(idx_scan, 0) > 0
"""
_LOCKS = """
SELECT n.nspname::text, c.relname::text, 1
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation'
"""
# A worker of a parallel query counts by itself, and tells later.
_ALONE = """
SELECT pg_catalog.set_config('max_parallel_workers_per_gather', '0', true),
       pg_catalog.set_config('max_parallel_maintenance_workers', '0', true)
"""
_LARGE_OBJECTS = (("pg_catalog", "pg_largeobject"), ("pg_catalog", "pg_largeobject_metadata"))
_NOT_POPULATED = "55000"
"""The SQLSTATE of reading a materialized view that was never refreshed: it isn't scanned then."""

_UNTOLD = "?"
_NAMED = 20

_TABLE = "coffre_absent"
_BATCH = 500
_PARENTS = f"""
INSERT INTO pg_temp.{_TABLE}
WITH RECURSIVE up (oid) AS (
    SELECT oid FROM pg_temp.{_TABLE}
    UNION SELECT i.inhparent FROM pg_inherits i JOIN up ON i.inhrelid = up.oid
) SELECT oid FROM up EXCEPT SELECT oid FROM pg_temp.{_TABLE}
"""
_FOREIGN_KEYS = f"""
SELECT k.conrelid::regclass::text || '.' || quote_ident(k.conname) || ' to ' || k.confrelid::regclass::text
FROM pg_constraint k
WHERE k.contype = 'f' AND k.conparentid = 0
  AND EXISTS (SELECT FROM pg_temp.{_TABLE} a WHERE a.oid IN (k.conrelid, k.confrelid))
ORDER BY 1
"""

Name = tuple[str, str]
"""A relation's schema and name."""


@dataclass(frozen=True)
class Attempt:
    """What became of a statement: the error that it ended with, and the absent tables that it read."""

    error: CoffreError | None
    read: tuple[str, ...]

    @property
    def told(self) -> bool:
        """Whether the server could tell what was read."""
        return _UNTOLD not in self.read


class AbsentRows:
    """The tables whose rows aren't there.

    Parameters
    ----------
    relations:
        Those tables.
    large_objects:
        Whether the large objects aren't there either.
    """

    def __init__(self, relations: Iterable[Relation], *, large_objects: bool) -> None:
        self._names: set[Name] = {(relation.schema, relation.name) for relation in relations}
        self._large_objects = large_objects
        self._unpopulated = False

    def attempt(self, session: Session, statement: str) -> Attempt:
        """Run a statement in a transaction of its own, and look at what it read.

        Raises
        ------
        ConnectionLostError, DeadlineExceededError, DiskFullError
            That says nothing about the statement.
        """
        session.run("BEGIN")
        watch = self.watch(session)
        error = watch.run(lambda: session.run(statement))
        read = watch.read(error)
        session.run("COMMIT")
        return Attempt(error, read)

    def watch(self, session: Session) -> ReadingWatch:
        """Watch what is read from here on, in a transaction that has begun."""
        return ReadingWatch(self, session)

    def add_view(self, name: Name, *, populated: bool) -> None:
        """A materialized view whose rows say nothing, because of what it reads."""
        self._names.add(name)
        self._unpopulated = self._unpopulated or not populated

    def among(self, names: Iterable[Name]) -> tuple[str, ...]:
        """Those of the names that are absent, as people read them."""
        known = self._names | (set(_LARGE_OBJECTS) if self._large_objects else set())
        return tuple(sorted({_label(name) for name in names if name in known}))

    def excuse(self, error: CoffreError | None) -> tuple[str, ...]:
        """What may be to blame for an error although nothing was read."""
        blocked = isinstance(error, QueryFailedError) and error.sqlstate == _NOT_POPULATED
        return ("a materialized view",) if blocked and self._unpopulated else ()

    def enter(self, session: Session) -> None:
        """List the absent relations, and what they are partitions or children of, in a temporary table."""
        session.run(f"CREATE TEMPORARY TABLE {_TABLE} (oid oid)")
        names = sorted(self._names)
        for start in range(0, len(names), _BATCH):
            rows = ", ".join(
                f"({literal(qualified(*name))}::regclass::oid)" for name in names[start : start + _BATCH]
            )
            session.run(f"INSERT INTO pg_temp.{_TABLE} VALUES {rows}")
        session.run(_PARENTS)


class ReadingWatch:
    """Tells which absent tables were read in a transaction since this was made."""

    def __init__(self, absent: AbsentRows, session: Session) -> None:
        self._absent = absent
        self._session = session
        session.run(_ALONE)
        self._question = _SCANS if session.value("SHOW track_counts") == "on" else _LOCKS
        # What the session read before may not have been handed on yet, and is counted along.
        self._before = self._scans()
        session.run("SAVEPOINT watched")

    def run(self, work: Callable[[], object]) -> CoffreError | None:
        """Do the work; what the server said against it, after which the transaction goes on without it."""
        try:
            work()
        except (ConnectionLostError, DeadlineExceededError, DiskFullError):
            raise
        except CoffreError as error:
            self._session.run("ROLLBACK TO SAVEPOINT watched")
            return error
        return None

    def read(self, error: CoffreError | None) -> tuple[str, ...]:
        """The absent tables that were read."""
        if error is not None and self._question == _LOCKS:
            return (_UNTOLD,)
        now = self._scans()
        found = self._absent.among(name for name, count in now.items() if count > self._before.get(name, 0))
        return found or self._absent.excuse(error)

    def _scans(self) -> dict[Name, int]:
        return {(row[0], row[1]): int(row[2]) for row in self._session.run(self._question)}


def reading(read: Sequence[str]) -> str:
    """What an attempt read, in words that go on after a colon."""
    if _UNTOLD in read:
        return "this server can't tell what it reads"
    return f"it reads {first_of(read, _NAMED)}, whose rows were not restored"


def loose_foreign_keys(session: Session) -> list[str]:
    """The foreign keys that lead from or to an absent table; after `AbsentRows.enter`."""
    return [row[0] for row in session.run(_FOREIGN_KEYS)]


def present(*columns: str) -> str:
    """The condition that none of these columns holds an absent relation's number."""
    return f"NOT EXISTS (SELECT FROM pg_temp.{_TABLE} a WHERE a.oid IN ({', '.join(columns)}))"


def _label(name: Name) -> str:
    return "the large objects" if name in _LARGE_OBJECTS else ".".join(name)
