"""What all measurements share: the servers, the endpoint, and runs of Coffre and of other programs."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import runtime
from coffre.databases.postgresql.connection import identifier, open_session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
MAJOR = 18
OWNER = "bench"
SCRATCH_MB = 1 << 16
"""What a proof may fill: more than a function has, so that large databases are restored whole here."""

ROWS = {"narrow": 4_400_000, "wide": 3_000_000, "events": 1_300_000, "lookups": 1_000}
"""At factor 1: more than 1 GB of COPY text, half of it in narrow rows, half in wide ones."""

SERVER = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "autovacuum": "off",
    "max_connections": "40",
    "max_locks_per_transaction": "1024",
}
"""Over the template's settings (fsync off, wal_level minimal); no vacuum or checkpoint may favour anybody,
and somebody locks 5,000 tables at once."""

FAST = Path("/dev/shm")  # noqa: S108 - tmpfs, so that no disk is measured
LIMIT_SECONDS = 3600.0


class BenchError(Exception):
    """A program failed, or what it gave isn't what was put in."""


@dataclass(frozen=True)
class Timed:
    """How long something took, by the clock and on the processors.

    Attributes
    ----------
    cpu:
        Seconds of the client's processes; the server's aren't in it.
    """

    seconds: float
    cpu: float


@dataclass(frozen=True)
class Ran(Timed):
    """A run of Coffre and what it answered."""

    result: dict[str, Any]


@dataclass(frozen=True)
class Lab:
    """Where measurements take place.

    Attributes
    ----------
    python:
        The interpreter that the product runs in; see `bench.runtime`.
    fast:
        A folder on tmpfs, if the machine has one: objects and the peers' files lie there.
    factor:
        What the numbers of rows are multiplied with.
    repeat:
        How often each contestant runs; the best run counts.
    """

    postgres: Path
    python: Path
    scratch: Path
    fast: Path
    factor: float
    repeat: int
    console: Console

    @cached_property
    def tools(self) -> Tools:
        """PostgreSQL's programs."""
        return Tools(self.postgres)

    def say(self, text: str) -> None:
        """Tell what is under way."""
        self.console.print(f"  {text}", style="dim", highlight=False)

    @contextmanager
    def server(self, **settings: str) -> Iterator[Target]:
        """A server of the layer; its database ``postgres`` as the role that owns all tables.

        Parameters
        ----------
        settings:
            Of the server, beside `SERVER`.
        """
        with EphemeralServer.start(
            self.postgres, MAJOR, self.scratch, settings={**SERVER, **settings}
        ) as server:
            boot = Target(
                str(server.socket_dir), server.port, server.superuser, "postgres", sslmode="disable"
            )
            with open_session(boot, seconds=60) as session:
                session.run(f"CREATE ROLE {OWNER} SUPERUSER LOGIN")
            target = replace(boot, user=OWNER)
            # A proof keeps this name for its own superuser; no customer's server has it.
            execute(target, f"ALTER ROLE {identifier(server.superuser)} RENAME TO operator")
            yield target

    def rows(self, factor: float | None = None) -> dict[str, int]:
        """The numbers of rows of ``sets/mixed.sql``, at the run's factor or another one."""
        return {name: max(1000, int(rows * (factor or self.factor))) for name, rows in ROWS.items()}

    def fill(self, server: Target, database: str, script: str, numbers: Mapping[str, int]) -> Target:
        """Make a database with one of the scripts of this folder."""
        self.say(
            f"filling {database}: " + ", ".join(f"{number:,} {name}" for name, number in numbers.items())
        )
        target = create_database(server, database)
        settings = [part for name, number in numbers.items() for part in ("-v", f"{name}={number}")]
        arguments = ["-q", "-v", "ON_ERROR_STOP=1", *settings, "-f", str(HERE / script)]
        self.tools.run("psql", MAJOR, arguments, target, deadline=time.monotonic() + LIMIT_SECONDS)
        return target

    @contextmanager
    def vault(self) -> Iterator[Vault]:
        """An empty bucket behind an endpoint in a process of its own."""
        folder = Path(tempfile.mkdtemp(prefix="bench-vault-", dir=self.fast))
        command = [sys.executable, "-m", "bench.endpoint", str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield Vault(f"http://127.0.0.1:{port}", folder, self.postgres, self.python, self.scratch)
        finally:
            process.kill()
            process.communicate()
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def files(self) -> Iterator[Path]:
        """A folder on tmpfs for what peers write."""
        folder = Path(tempfile.mkdtemp(prefix="bench-peer-", dir=self.fast))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Vault:
    """A bucket on this machine, and the product at work on it."""

    url: str
    folder: Path
    postgres: Path
    python: Path
    scratch: Path

    def clear(self) -> None:
        """Remove all objects."""
        for path in self.folder.iterdir():
            path.unlink()

    def start(self, verb: str) -> subprocess.Popen[str]:
        """Start a verb; it waits for its order."""
        command = [str(self.python), "-m", "bench.product", verb]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=self._environment)

    def run(self, verb: str, **order: Any) -> Ran:
        """Run a verb to its end; see `bench.product` for the orders."""
        return finish(self.start(verb), verb, **order)

    @property
    def _environment(self) -> dict[str, str]:
        mine = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_DEFAULT_REGION": "us-east-1",
            "COFFRE_STACK": "bench",
            "COFFRE_BUCKET": "bench",
            "COFFRE_TABLE": "bench",
            "COFFRE_POSTGRES": str(self.postgres),
            "COFFRE_SCRATCH": str(self.scratch),
            "COFFRE_SCRATCH_MB": str(SCRATCH_MB),
        }
        return {**runtime.environment(), **mine}


def finish(process: subprocess.Popen[str], verb: str, **order: Any) -> Ran:
    """Give a started verb its order and wait for the answer.

    Raises
    ------
    BenchError
        If it failed.  What it said stands on the terminal.
    """
    given = {name: asdict(value) if isinstance(value, Target) else value for name, value in order.items()}
    try:
        said, _ = process.communicate(json.dumps(given), timeout=LIMIT_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        raise BenchError(f"{verb} ended with status {process.returncode}")
    answer = json.loads(said)
    return Ran(answer["seconds"], answer["cpu"], answer["result"])


def create_database(server: Target, name: str) -> Target:
    """An empty database."""
    execute(server, f"CREATE DATABASE {identifier(name)}")
    return replace(server, database=name)


def drop_database(server: Target, name: str) -> None:
    """Remove a database."""
    execute(server, f"DROP DATABASE {identifier(name)} WITH (FORCE)")


def execute(target: Target, *statements: str) -> list[list[Any]]:
    """Run statements in one session with ``public`` in its path; the last one's rows."""
    rows: list[list[Any]] = []
    with open_session(target, seconds=LIMIT_SECONDS, application="bench") as session:
        session.run("SET search_path = public")
        for statement in statements:
            rows = session.run(statement)
    return rows


def peer_environment(target: Target, libpq: Path | None = None) -> dict[str, str]:
    """The environment in which PostgreSQL's programs connect to ``target``.

    Parameters
    ----------
    libpq:
        A folder with the libpq that knows TLS, and with ``ca.pem``, for a target with TLS.
    """
    variables = {
        "PATH": os.environ["PATH"],
        "PGHOST": target.host,
        "PGPORT": str(target.port),
        "PGUSER": target.user,
        "PGDATABASE": target.database,
        "PGSSLMODE": target.sslmode,
    }
    if libpq is not None:
        variables |= {"LD_PRELOAD": str(libpq / "libpq.so.5"), "PGSSLROOTCERT": str(libpq / "ca.pem")}
    return variables


def run_pipeline(
    commands: Sequence[Sequence[str]], environment: Mapping[str, str], output: Path | None = None
) -> Timed:
    """Run programs, each reading what the one before it writes; the last one writes to ``output``.

    Raises
    ------
    BenchError
        If one of them failed, with what it said.
    """
    started, used = time.perf_counter(), _children_seconds()
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryFile() as said, (output or Path(os.devnull)).open("wb") as out:
        try:
            for number, command in enumerate(commands):
                first, last = number == 0, number == len(commands) - 1
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL if first else running[-1].stdout,
                    stdout=out if last else subprocess.PIPE,
                    stderr=said,
                    env={**environment} if first else {"PATH": environment["PATH"]},
                )
                if not first and (pipe := running[-1].stdout) is not None:
                    pipe.close()
                running.append(process)
            codes = [process.wait() for process in running]
        finally:
            for process in running:
                process.kill()
                process.wait()
        if any(codes):
            said.seek(0)
            words = said.read().decode("utf-8", "replace").strip()
            raise BenchError(f"{' | '.join(command[0] for command in commands)} ended with {codes}: {words}")
    return Timed(time.perf_counter() - started, _children_seconds() - used)


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def size_of(path: Path) -> int:
    """The bytes of a file, or of the files in a folder."""
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
