"""One instant of a whole database, held open while others read it.

The order matters (``docs/decisions/0003-snapshot.md``): list the tables, lock them, and only then take the
snapshot; list again under it and compare.  A TRUNCATE or a rewriting ALTER TABLE between snapshot and reading
would otherwise show an empty table without any error.
Source: https://www.postgresql.org/docs/current/mvcc-caveats.html
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from coffre.databases.postgresql.connection import Session, literal, open_session, qualified
from coffre.databases.postgresql.renamed import renamed_since
from coffre.databases.postgresql.replaying import await_record
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    CatalogChangedError,
    CoffreError,
    ConnectionLostError,
    DeadlineExceededError,
    NamesChangedError,
    QueryFailedError,
    SnapshotLostError,
    TableChangedError,
    WaitersPresentError,
)

HEARTBEAT_SECONDS = 5.0
IDLE_LIMIT = "30s"
"""The server ends a holder that has been silent for this long: a dead function leaves no session behind."""

LOCK_TIMEOUT = "5s"
LOOK_SECONDS = 20.0
LOCK_BATCH = 500
ATTEMPTS = 3
_NO_SUCH_SNAPSHOT = ("22023", "42704", "55000")
"""Invalid parameter value up to version 16, undefined object from 17 on (``ImportSnapshot`` in snapmgr.c); in
between, when its holder has ended but not yet removed it, an object that isn't in the state that is needed
(``SetTransactionSnapshot``)."""

_ANSWER_SECONDS = 5.0
"""Of a holder that is asked whether it is still there."""

_LOCKABLE = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, coalesce(pg_relation_filenode(c.oid), 0)::bigint,
       c.relfilenode::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
ORDER BY c.oid
"""

_WAITERS = """
SELECT pid, coalesce(extract(epoch FROM clock_timestamp() - waitstart), 0)::float8
FROM pg_locks
WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))
"""


class HeldSnapshot:
    """A session that keeps an exported snapshot and its locks alive.

    Use as a context manager.  `session` may be used until `watch` is called; from then on it belongs to the
    watching thread.

    Parameters
    ----------
    predecessor:
        The id of a snapshot that another session still holds: this one sees the same, and holds on when that
        one lets go.  Without one, a new snapshot is taken.

    Attributes
    ----------
    id:
        What other sessions import; treat it as opaque.
    """

    def __init__(
        self, target: Target, *, seconds: float, application: str, predecessor: str | None = None
    ) -> None:
        self.session = open_session(target, seconds=seconds, application=application)
        self._application = application
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._fault: CoffreError | None = None
        self.id = ""
        try:
            self._limit()
            if predecessor is None:
                self._hold()
            else:
                self._adopt(predecessor)
        except BaseException:
            self.session.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _limit(self) -> None:
        known = {row[0] for row in self.session.run("SELECT name FROM pg_settings")}
        self.session.run(f"SET lock_timeout = {literal(LOCK_TIMEOUT)}")
        if "idle_in_transaction_session_timeout" in known:
            self.session.run(f"SET idle_in_transaction_session_timeout = {literal(IDLE_LIMIT)}")

    def _adopt(self, predecessor: str) -> None:
        """Import, lock at once or not at all, look for what slipped in between, export.

        Locks aren't handed over with a snapshot, and whoever waits behind the predecessor's would make this
        session wait behind him: so NOWAIT.  He must outlive what a standby replays at this moment.
        """
        import_snapshot(self.session, predecessor)
        _lock(self.session, self._unchanged(), "NOWAIT")
        self._unchanged()
        if self.session.value("SELECT pg_is_in_recovery()"):
            await_record(self.session)
            with open_session(
                self.session.target, seconds=LOOK_SECONDS, application=self._application
            ) as other:
                import_snapshot(other, predecessor)
        self.id = str(self.session.value("SELECT pg_export_snapshot()"))

    def _unchanged(self) -> list[list[Any]]:
        """The snapshot's tables, still stored where it says: otherwise they look empty, without error.

        Raises
        ------
        TableChangedError, NamesChangedError
            Naming them.
        """
        self._same_names()
        tables = self.session.run(_LOCKABLE)
        if moved := _moved(tables):
            raise TableChangedError(f"rewritten, emptied or dropped since the snapshot: {', '.join(moved)}")
        return tables

    def _same_names(self) -> None:
        if changed := renamed_since(self.session):
            raise NamesChangedError(f"renamed or altered since the snapshot: {', '.join(changed)}")

    def _hold(self) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            listed = self.session.run(_LOCKABLE)
            self.session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                _lock(self.session, listed)
                self.id = str(self.session.value("SELECT pg_export_snapshot()"))
                _compare(listed, self.session.run(_LOCKABLE))
            except CatalogChangedError:
                self.session.run("ROLLBACK")
                if attempt == ATTEMPTS:
                    raise
            else:
                return

    def watch(self, *, waiters: float | None) -> None:
        """Start the heartbeat, which also looks who waits behind our locks, and whether names are the same.

        Parameters
        ----------
        waiters:
            Seconds that somebody may wait before the snapshot is let go; None holds on.
        """
        self._thread = threading.Thread(target=self._beat, args=(waiters,), daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the snapshot, if something did.

        Raises
        ------
        WaitersPresentError, ConnectionLostError, NamesChangedError
        """
        if self._fault is not None:
            raise self._fault

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Tell what fails in the block because the snapshot is lost as just that, whoever notices first.

        The holder's end makes workers and ``pg_dump`` fail, too, each in its own words and its own time.

        Raises
        ------
        WaitersPresentError, ConnectionLostError
            In the place of another error, if the snapshot is lost.
        """
        try:
            yield
        except DeadlineExceededError:
            raise
        except CoffreError as error:
            self._stop_watching()
            self.check()
            try:
                self.session.socket.settimeout(_ANSWER_SECONDS)
                self.session.run("ROLLBACK")  # which a transaction that failed takes, too
            except CoffreError as lost:
                raise _lost(lost) from error
            raise

    def confirm(self) -> None:
        """Stop watching, and make sure that the locks were held up to this moment.

        A holder that ended between two heartbeats let go of its locks: what was read afterwards may have been
        truncated before.

        Raises
        ------
        WaitersPresentError, ConnectionLostError, TableChangedError, NamesChangedError
        """
        self._stop_watching()
        self.check()
        self._unchanged()

    def close(self) -> None:
        """Let go of snapshot and locks."""
        self._stop_watching()
        self.session.close()

    def _stop_watching(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self, waiters: float | None) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                waiting = self.session.run(_WAITERS)
                self._same_names()
            except NamesChangedError as error:
                self._fault = error
                self.session.close()
                return
            except CoffreError as error:
                self._fault = _lost(error)
                return
            longest = max((row[1] for row in waiting), default=0.0)
            if waiters is not None and longest > waiters:
                pids, where = ", ".join(str(row[0]) for row in waiting), self.session.target.label
                self._fault = WaitersPresentError(
                    f"sessions {pids} waited {longest:.0f} s for locks behind the backup of {where}"
                )
                self.session.close()
                return


def import_snapshot(session: Session, snapshot: str) -> None:
    """Let ``session`` see what the holder of ``snapshot`` sees.

    Raises
    ------
    SnapshotLostError
        If the holder is gone; the rows must then come from a new snapshot, never from two.
    """
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        session.run(f"SET TRANSACTION SNAPSHOT {literal(snapshot)}")
    except QueryFailedError as error:
        if error.sqlstate not in _NO_SUCH_SNAPSHOT:
            raise
        raise SnapshotLostError(f"the snapshot's holder is gone: {error.message}") from error


def _lost(error: CoffreError) -> ConnectionLostError:
    return ConnectionLostError(f"the snapshot was lost: {error.message}")


def _lock(session: Session, listed: Sequence[Sequence[object]], wait: str = "") -> None:
    for start in range(0, len(listed), LOCK_BATCH):
        some = listed[start : start + LOCK_BATCH]
        names = ", ".join(f"ONLY {qualified(str(row[1]), str(row[2]))}" for row in some)
        session.run(f"LOCK TABLE {names} IN ACCESS SHARE MODE {wait}")


def _compare(before: Sequence[Sequence[object]], under: Sequence[Sequence[object]]) -> None:
    """What was listed and locked must be what the snapshot shows, stored where the snapshot says."""
    first, second = {tuple(row) for row in before}, {tuple(row) for row in under}
    names = {f"{row[1]}.{row[2]}" for row in first ^ second} | set(_moved(under))
    if names:
        raise CatalogChangedError(f"tables changed while they were being locked: {', '.join(sorted(names))}")


def _moved(seen: Sequence[Sequence[object]]) -> list[str]:
    """The tables that aren't stored (any more) where the snapshot says."""
    return sorted(f"{row[1]}.{row[2]}" for row in seen if row[3] == "r" and row[4] != row[5] and row[5] != 0)
