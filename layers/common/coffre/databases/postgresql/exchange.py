"""Putting one database in another one's place, by names, in one transaction.

A rename takes the strongest lock on its database and keeps it to the end of the transaction: whoever connects
meanwhile waits, and what is connected already is ended by a second session.  So nothing has to be switched
off first that a killed run would leave switched off: either both names change, or nothing does.
Source: ``RenameDatabase`` in dbcommands.c, ``InitPostgres`` in postinit.c, ``CountOtherDBBackends`` in
procarray.c (a rename waits up to 5 s for other sessions to end)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from coffre.databases.postgresql.connection import Session, identifier, literal, open_session
from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError, ConnectionLostError, QueryFailedError, SessionsRemainError

TRIES = 3
"""Each waits 5 s at most for the database's sessions to end; in between, new ones are let in."""

PAUSE_SECONDS = 0.1
IN_USE = "55006"
_APPLICATION = "coffre/swap"

_SESSIONS = """
SELECT pid, coalesce(usename::text, 'unknown role') FROM pg_stat_activity
WHERE datid = ANY({oids}::oid[]) AND pid <> pg_backend_pid()
AND backend_type IS DISTINCT FROM 'autovacuum worker'
"""


@dataclass(frozen=True)
class Exchange:
    """Which names change.

    Attributes
    ----------
    name:
        The name that passes from one database to the other.
    leaving:
        OID of the database that bears it; None if none does.
    aside:
        The name that this one gets.
    incoming:
        OID and name of the database that gets ``name``.
    comments:
        Comments to set in the same transaction, by the databases' names after the exchange.
    """

    name: str
    leaving: int | None
    aside: str
    incoming: tuple[int, str]
    comments: Mapping[str, str | None]

    def statements(self) -> list[str]:
        """What is run between BEGIN and COMMIT."""
        rename = "ALTER DATABASE {} RENAME TO {}".format
        first = [rename(identifier(self.name), identifier(self.aside))] if self.leaving is not None else []
        second = rename(identifier(self.incoming[1]), identifier(self.name))
        comments = [
            f"COMMENT ON DATABASE {identifier(name)} IS {'NULL' if text is None else literal(text)}"
            for name, text in self.comments.items()
        ]
        return [*first, second, *comments]

    @property
    def result(self) -> dict[str, int]:
        """Names and OIDs as they are afterwards."""
        aside = {self.aside: self.leaving} if self.leaving is not None else {}
        return {self.name: self.incoming[0], **aside}


def exchange_names(maintenance: Target, names: Exchange, *, seconds: float) -> None:
    """Change the names, or nothing.

    Parameters
    ----------
    maintenance:
        A database of the same server that isn't one of those.
    seconds:
        How long a statement may take at most.

    Raises
    ------
    SessionsRemainError
        If sessions couldn't be ended in a bounded time; nothing was changed.
    CoffreError
        Nothing was changed.
    """
    with open_session(maintenance, seconds=seconds, application=_APPLICATION) as session:
        for _ in range(TRIES):
            if _try(session, maintenance, names, seconds):
                return
        raise _remaining(session, names)


def _try(session: Session, maintenance: Target, names: Exchange, seconds: float) -> bool:
    """Change the names once; False if sessions are left."""
    try:
        with _sessions_ended(maintenance, names, seconds):
            _exchange(session, names)
    except ConnectionLostError:
        if not _is_done(maintenance, names):
            raise
        # Only the answer to the commit was lost.
    except QueryFailedError as error:
        session.run("ROLLBACK")
        if error.sqlstate != IN_USE:
            raise
        return False
    except CoffreError:
        session.run("ROLLBACK")
        raise
    return True


def _exchange(session: Session, names: Exchange) -> None:
    session.run("BEGIN")
    for statement in names.statements():
        session.run(statement)
    found = _oids(session, list(names.result))
    if found != names.result:
        raise QueryFailedError(
            f"{session.target.label}: other databases bear the names {', '.join(names.result)} by now",
            "Somebody renamed a database meanwhile; ask for a plan again.",
        )
    session.run("COMMIT")


def _is_done(maintenance: Target, names: Exchange) -> bool:
    with open_session(maintenance, seconds=60, application=_APPLICATION) as session:
        return _oids(session, list(names.result)) == names.result


def _oids(session: Session, names: list[str]) -> dict[str, int]:
    among = ", ".join(literal(name) for name in names)
    rows = session.run(f"SELECT datname::text, oid::int8 FROM pg_database WHERE datname IN ({among})")
    return {row[0]: int(row[1]) for row in rows}


def _connected(session: Session, names: Exchange) -> list[tuple[int, str]]:
    oids = literal("{" + ",".join(str(oid) for oid in names.result.values()) + "}")
    return [(int(row[0]), str(row[1])) for row in session.run(_SESSIONS.format(oids=oids))]


def _remaining(session: Session, names: Exchange) -> SessionsRemainError:
    roles = sorted({role for _, role in _connected(session, names)})
    who = f"sessions of {', '.join(roles)}" if roles else "sessions or prepared transactions"
    return SessionsRemainError(f"{who} on database {names.name!r} could not be ended")


@contextmanager
def _sessions_ended(maintenance: Target, names: Exchange, seconds: float) -> Iterator[None]:
    """While the block runs, end every session with the databases, again and again."""
    stop = threading.Event()
    with open_session(maintenance, seconds=seconds, application=_APPLICATION) as session:
        thread = threading.Thread(target=_end_sessions, args=(session, names, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _end_sessions(session: Session, names: Exchange, stop: threading.Event) -> None:
    while True:
        try:
            for pid, _ in _connected(session, names):
                _end(session, pid)
        except ConnectionLostError:
            return  # the rename then says that sessions are left
        if stop.wait(PAUSE_SECONDS):
            return


def _end(session: Session, pid: int) -> None:
    try:
        session.run(f"SELECT pg_terminate_backend({pid})")
    except ConnectionLostError:
        raise
    except CoffreError:
        return  # not allowed for this one; if it stays, the rename says so
