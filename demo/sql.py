"""The customer's side: plain SQL to a server, by a client that knows nothing of Coffre."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pg8000.native

SAMPLE = Path(__file__).parent / "sample"
FILES = ("01-roles.sql", "02-schema.sql", "03-rows.sql", "04-after.sql")

SAMPLE_BYTES = 184_000_000
"""What the sample takes on a server's disk, about: the length of the loading bar."""

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Place:
    """A server behind a unix socket, and the user who connects to it without a password."""

    socket_dir: Path
    port: int
    user: str

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql:///{database}?host={self.socket_dir}&port={self.port}&user={self.user}"


@contextmanager
def session(place: Place, database: str) -> Iterator[Any]:
    """A connection of pg8000."""
    socket = f"{place.socket_dir}/.s.PGSQL.{place.port}"
    connection = pg8000.native.Connection(place.user, unix_sock=socket, database=database, ssl_context=False)
    try:
        yield connection
    finally:
        connection.close()


def execute(place: Place, database: str, sql: str) -> list[list[Any]]:
    """Run SQL that may hold many statements; the rows of the last one that has any."""
    with session(place, database) as connection:
        rows: list[list[Any]] | None = connection.run(sql)
    return rows or []


def run_file(place: Place, database: str, name: str) -> None:
    """Run one file of the sample."""
    execute(place, database, (SAMPLE / name).read_text(encoding="utf-8"))


def load_sample(place: Place, database: str, tick: Callable[[int], None]) -> None:
    """Make a database and load the sample into it.

    Parameters
    ----------
    tick:
        Called a few times a second with the database's size in bytes.
    """
    execute(place, "postgres", f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8'")
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for name in FILES:
                run_file(place, database, name)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work, name="load", daemon=True)
    thread.start()
    with session(place, "postgres") as watcher:
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
            tick(watcher.run("SELECT pg_database_size(:name)", name=database)[0][0])
    if failures:
        raise failures[0]
