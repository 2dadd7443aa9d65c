"""Databases to test with: made from SQL, asked by SQL, and compared by PostgreSQL's own pg_dump."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from coffre.databases.postgresql.connection import identifier, open_session
from coffre.databases.postgresql.server import UNPRIVILEGED, EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools
from tests.support.waiting import PATIENCE_SECONDS, soon

DUMP_MAJOR = 18
CUSTOMER = "customer"
"""Who owns the customers' databases: a proof takes none from a server with a superuser of its own's name."""


class RestartedServer(EphemeralServer):
    """A server that is shut down and started again, with its data and at its address."""

    def shut_down(self) -> None:
        """End it as an operator does, whoever is at work."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)  # a fast shutdown
        self._process.wait(PATIENCE_SECONDS)

    def crash(self) -> None:
        """End all its processes at once, and start it again: it recovers."""
        assert self._process is not None
        sql(target(self, "postgres"), "CHECKPOINT")
        self._process.send_signal(signal.SIGQUIT)  # an immediate shutdown
        self._process.wait(PATIENCE_SECONDS)
        self.start_again()

    def start_again(self) -> None:
        """Start it, and wait until it accepts connections."""
        assert self._process is not None
        program = Path(self._process.args[0])  # type: ignore[index]
        user = UNPRIVILEGED if os.geteuid() == 0 else None
        self._process = self._launch(program, user, {}, sealed=False)
        self._wait_until_ready(self._process)


S = TypeVar("S", bound=EphemeralServer)


@contextmanager
def customer_server(
    tools_root: Path,
    major: int,
    scratch: Path,
    settings: Mapping[str, str] | None = None,
    kind: type[S] = EphemeralServer,  # type: ignore[assignment]
) -> Iterator[S]:
    """A server that plays a customer's."""
    with kind.start(tools_root, major, scratch, settings=settings) as server:
        boot = Target(str(server.socket_dir), server.port, server.superuser, "postgres", sslmode="disable")
        sql(boot, f"CREATE ROLE {CUSTOMER} SUPERUSER LOGIN")
        sql(target(server, "postgres"), f"ALTER ROLE {server.superuser} RENAME TO postgres")
        yield server


def target(server: EphemeralServer, database: str) -> Target:
    """A database of a customer's server, as the customer."""
    return Target(str(server.socket_dir), server.port, CUSTOMER, database, sslmode="disable")


def url(server: EphemeralServer, database: str, user: str = CUSTOMER) -> str:
    """The URL of a database of a customer's server."""
    query = urlencode({"host": server.socket_dir, "port": server.port, "user": user})
    return f"postgresql:///{quote(database, safe='')}?{query}"


def sql(where: Target, *statements: str) -> list[list[Any]]:
    """Run statements (each may hold several) with ``public`` in the search path; the last one's rows."""
    rows: list[list[Any]] = []
    with open_session(where, seconds=60, application="tests") as session:
        session.run("SET search_path = public")
        for statement in statements:
            rows = session.run(statement)
    return rows


def create(server: EphemeralServer, database: str, *statements: str) -> Target:
    """A new database with the content that the statements make."""
    # Copied as files, which is several times cheaper where nothing is flushed to a disk.
    strategy = "STRATEGY file_copy" if server.major >= 15 else ""
    sql(target(server, "postgres"), f"CREATE DATABASE {identifier(database)} {strategy}")
    made = target(server, database)
    sql(made, *statements)
    return made


def databases(server: EphemeralServer) -> set[str]:
    """The names of all databases of a server."""
    return {row[0] for row in sql(target(server, "postgres"), "SELECT datname FROM pg_database")}


def dumped(tools_root: Path, where: Target) -> list[str]:
    """A database as pg_dump shows it: schema, rows, sequences, large objects and grants, as sorted lines.

    Another program than ours says whether two databases are equal.  Sorted, because rows have no order;
    without comments and without the random tokens of ``\\restrict``.
    """
    text = Tools(tools_root).run(
        "pg_dump", DUMP_MAJOR, ["--large-objects"], where, deadline=time.monotonic() + PATIENCE_SECONDS
    )
    lines = text.decode("utf-8", "replace").splitlines()
    return sorted(
        line for line in lines if line and not line.startswith(("--", "\\restrict", "\\unrestrict"))
    )


def coffre_sessions(server: EphemeralServer) -> list[list[Any]]:
    """The sessions of Coffre that are open on a server: (database, application, state, query)."""
    return sql(
        target(server, "postgres"),
        "SELECT datname, application_name, state, left(query, 80) FROM pg_stat_activity "
        "WHERE application_name LIKE 'coffre%' OR application_name LIKE 'pg_%'",
    )


def no_sessions_left(server: EphemeralServer) -> bool:
    """Whether all of Coffre's sessions end; a backend notices the end of its client a moment later."""
    return soon(lambda: not coffre_sessions(server), "the end of Coffre's sessions")
