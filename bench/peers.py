"""Other programs that read a whole database: pg_dump in its ways, pgcopydb, pgBackRest."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.contest import Contestant
from bench.lab import (
    MAJOR,
    BenchError,
    Lab,
    Timed,
    create_database,
    drop_database,
    peer_environment,
    remove,
    run_pipeline,
    size_of,
)
from bench.tls import PROGRAMS, UNPRIVILEGED
from coffre.databases.postgresql.target import Target

ZSTD = ["zstd", "-1", "-T2", "-q"]
JOBS = 2


@dataclass(frozen=True)
class Dumps:
    """pg_dump on one database.

    Attributes
    ----------
    files:
        Where it writes; what it wrote is measured and removed.
    major:
        Which pg_dump.
    environment:
        How it connects; None: as the target says.
    """

    lab: Lab
    target: Target
    files: Path
    major: int = MAJOR
    environment: dict[str, str] | None = None

    def piped(self, packer: list[str]) -> Callable[[], tuple[Timed, int]]:
        """Plain text through another program."""
        return lambda: self._run([[self._program], packer], self.files / "dump", self.files / "dump")

    def custom(self) -> Callable[[], tuple[Timed, int]]:
        """``-Fc``, as most scripts have it."""
        output = self.files / "dump"
        return lambda: self._run([[self._program, "-Fc", "-f", str(output)]], None, output)

    def folder(self, method: str) -> Callable[[], tuple[Timed, int]]:
        """``-Fd`` with as many jobs as there are processors here."""
        output = self.files / "folder"
        command = [self._program, "-Fd", f"-j{JOBS}", "-Z", method, "-f", str(output)]
        return lambda: self._run([command], None, output)

    def knows(self, method: str) -> str:
        """Why this pg_dump can't compress so; empty if it can."""
        probe = [self._program, "-s", "-Fc", "-Z", method, "-n", "pg_toast"]
        try:
            run_pipeline([probe], self._connection)
        except BenchError as error:
            return str(error).rpartition("error: ")[2]
        return ""

    @property
    def _program(self) -> str:
        return str(self.lab.postgres / f"{self.major}/bin/pg_dump")

    @property
    def _connection(self) -> dict[str, str]:
        return self.environment or peer_environment(self.target)

    def _run(self, commands: list[list[str]], output: Path | None, written: Path) -> tuple[Timed, int]:
        timed = run_pipeline(commands, self._connection, output)
        size = size_of(written)
        remove(written)
        return timed, size


def dumpers(dumps: Dumps) -> tuple[list[Contestant], list[str]]:
    """pg_dump in all ways that this machine has, and words on those that it hasn't."""
    repeat = dumps.lab.repeat
    found, absent = [], []
    if shutil.which("zstd"):
        found.append(Contestant("pg_dump | zstd -1 -T2", dumps.piped(ZSTD), repeat))
    else:
        absent.append("pg_dump | zstd -1 -T2 was skipped: there is no `zstd` on this machine.")
    for method in ("1", "zstd:1", "lz4"):
        fault = dumps.knows(method)
        if fault:
            absent.append(f"pg_dump -Fd -j{JOBS} -Z {method} was skipped: {fault}.")
        else:
            found.append(Contestant(f"pg_dump -Fd -j{JOBS} -Z {method}", dumps.folder(method), repeat))
    return [*found, Contestant("pg_dump -Fc", dumps.custom(), 1)], absent


def copier(lab: Lab, server: Target, source: Target, files: Path) -> tuple[list[Contestant], list[str]]:
    """pgcopydb, which copies into another database of the same server and stores nothing."""
    program = shutil.which("pgcopydb")
    if program is None:
        return [], ["pgcopydb was skipped: it isn't installed (Debian's package `pgcopydb`)."]
    folder = files / "pgcopydb"
    target = Target(server.host, server.port, server.user, "copied", sslmode="disable")
    command = [program, "clone", "--source", _uri(source), "--target", _uri(target), "--dir", str(folder)]
    command += ["--table-jobs", str(JOBS), "--index-jobs", str(JOBS), "--no-acl", "--no-owner"]
    environment = {**peer_environment(source), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}

    def act() -> tuple[Timed, int]:
        create_database(server, target.database)
        try:
            return run_pipeline([command], environment), 0
        finally:
            drop_database(server, target.database)
            shutil.rmtree(folder, ignore_errors=True)

    return [Contestant(f"pgcopydb clone, {JOBS} jobs, into a database", act, lab.repeat)], []


def physical(lab: Lab, server: Target, data: Path, files: Path) -> tuple[list[Contestant], list[str]]:
    """pgBackRest, which copies the files of the whole server.

    Parameters
    ----------
    data:
        The server's data directory.
    """
    program = shutil.which("pgbackrest")
    if program is None:
        return [], ["pgBackRest was skipped: it isn't installed (Debian's package `pgbackrest`)."]
    home = files / "pgbackrest"
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    options = {
        "stanza": "bench",
        "pg1-path": data,
        "pg1-socket-path": server.host,
        "pg1-port": server.port,
        "pg1-user": server.user,
        "pg1-database": "postgres",
        "repo1-path": home / "repository",
        "log-path": home,
        "lock-path": home / "lock",
        "config": "/dev/null",
        "log-level-console": "error",
    }
    told = [f"--{name}={value}" for name, value in options.items()]
    # Neither an archive nor a wait for a checkpoint belongs to reading.
    backup = [*told, "--type=full", "--no-archive-check", "--start-fast"]
    backup += [f"--process-max={JOBS}", "--compress-type=zst", "--compress-level=1"]

    def act() -> tuple[Timed, int]:
        home.mkdir()
        if user is not None:
            os.chown(home, user, user)
        try:
            _as_user([program, *told, "--no-online", "stanza-create"], user)
            timed = run_pipeline([_command([program, *backup, "backup"], user)], {"PATH": os.environ["PATH"]})
            return timed, sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
        finally:
            shutil.rmtree(home, ignore_errors=True)

    return [Contestant(f"pgBackRest, {JOBS} processes, zst 1, all files", act, lab.repeat)], []


def _command(command: list[str], user: int | None) -> list[str]:
    """The command as the server's own user, who alone may read its files."""
    if user is None:
        return command
    return ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", *command]


def _as_user(command: list[str], user: int | None) -> None:
    done = subprocess.run(_command(command, user), capture_output=True, text=True, cwd="/", check=False)
    if done.returncode:
        raise BenchError(f"{Path(command[0]).name} ended with {done.returncode}: {done.stdout}{done.stderr}")


def _uri(target: Target) -> str:
    return f"postgres:///{target.database}?host={target.host}&port={target.port}&user={target.user}"
