"""PostgreSQL's own programs: which major version to use, and how to run them."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Literal
from urllib.parse import quote

from coffre.databases.postgresql.connection import PINNED
from coffre.databases.postgresql.processes import clean_environment, start_tied, wait
from coffre.databases.postgresql.program_faults import program_failed
from coffre.databases.postgresql.said import without_values
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    DeadlineExceededError,
    ServerTooNewError,
    ServerTooOldError,
    ToolFailedError,
    ToolMissingError,
)

Program = Literal["pg_dump", "pg_dumpall", "pg_restore", "psql"]

OLDEST_SERVER, NEWEST_SERVER = 14, 18

_GRACE_SECONDS = 2.0  # for a program to cancel its statement on the server
_MESSAGE_BYTES = 4096

_OPTIONS = f"-c lc_monetary={PINNED['lc_monetary']}"
"""What the programs don't set themselves: a schema holds amounts of money as text of the session's locale."""


def dump_major(server_major: int) -> int:
    """The major version of pg_dump for a server: the lowest bundled one that is at least the server's.

    Raises
    ------
    ServerTooOldError, ServerTooNewError
        For a server outside 14 to 18.
    """
    if server_major < OLDEST_SERVER:
        raise ServerTooOldError(f"the server is PostgreSQL {server_major}")
    if server_major > NEWEST_SERVER:
        raise ServerTooNewError(f"the server is PostgreSQL {server_major}")
    return 16 if server_major <= 16 else 18


def restore_major(target_major: int) -> int:
    """The major version of pg_restore for a target: from 17 on it sends settings that older servers refuse.

    An archive of pg_dump 18 can't be read by pg_restore 16, but no restore needs that: a target older than
    the source is refused.

    Raises
    ------
    ServerTooOldError, ServerTooNewError
        For a server outside 14 to 18.
    """
    return dump_major(target_major)


class Tools:
    """The programs of the PostgreSQL layer.

    Parameters
    ----------
    root:
        The layer's folder (in Lambda ``/opt/postgres``).
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(
        self,
        name: Program,
        major: int,
        arguments: Sequence[str],
        target: Target | None = None,
        *,
        deadline: float,
        stdin: Path | int | None = None,
        stdout: Path | int | None = None,
        stderr: Path | None = None,
    ) -> bytes:
        """Run a program to its end.

        Its connection comes from ``target`` alone, literally: a database may be named like a connection
        string.  The password is in no argument, no environment and no named file.

        Parameters
        ----------
        name, major:
            The program and its major version: 16 or 18.
        arguments:
            Without any that say where to connect.
        target:
            The database to connect to, if the program connects.
        deadline:
            The time on `time.monotonic`'s clock at which the program is ended.
        stdin, stdout:
            A file, or a file descriptor such as a pipe's.  By default it reads nothing, and what it writes is
            returned.
        stderr:
            A file that holds what it said afterwards, whole, whether it failed or not.

        Returns
        -------
        bytes
            What it wrote, unless ``stdout`` says where to.

        Raises
        ------
        ToolMissingError
            The layer doesn't hold that program.
        ToolFailedError
            It ended with an error; the message holds its exit code and what it said, without secrets.
        DiskFullError
            It had no room for what it writes.
        ConnectionLostError
            Its session with the server broke.
        SourceUnreachableError, AuthenticationError, TlsError, DatabaseMissingError, PoolerRefusedError
            The server gave it no session.
        DeadlineExceededError
            It wasn't done in time.
        """
        program = self.root / str(major) / "bin" / name
        if not program.is_file():
            raise ToolMissingError(f"there is no {program}")
        command = [str(program), *_fixed_arguments(name, target), *arguments]
        with ExitStack() as files:
            secrets = _Handed(files)
            environment = clean_environment()
            if target is not None:
                environment |= _connection(target, secrets)
                if _may_use_tls(target):
                    environment["LD_PRELOAD"] = f"{secrets.folder(self.root / 'libpq')}/libpq.so.5"
            said = files.enter_context(tempfile.TemporaryFile())
            if stderr is not None:
                said = files.enter_context(stderr.open("w+b"))
            written = files.enter_context(tempfile.TemporaryFile())
            code = _run(
                command,
                environment,
                secrets.descriptors,
                deadline,
                stdin=_opened(stdin, "rb", files, subprocess.DEVNULL),
                stdout=_opened(stdout, "wb", files, written),
                stderr=said,
            )
            where = f" for {target.label}" if target else ""
            if code is None:
                raise DeadlineExceededError(f"{name}{where} was ended at its deadline")
            if code:
                words = _message(said, target)
                raise program_failed(f"{name} {major}{where} ended with {code}: {words}", words, target)
            written.seek(0)
            return written.read()


class _Handed:
    """What a program gets as open files that have no name: nothing is left behind, whoever is killed."""

    def __init__(self, files: ExitStack) -> None:
        self._files = files
        self.descriptors: list[int] = []

    def file(self, content: str) -> str:
        """The path under which the program opens a file with this content; its mode is 0600."""
        handle = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open until the program has ended
        self._files.enter_context(handle)
        handle.write(content.encode())
        handle.flush()
        return self._path(handle.fileno())

    def folder(self, path: Path) -> str:
        """A path of ``path`` without spaces and colons, which LD_PRELOAD takes for separators."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self._files.callback(os.close, handle)
        return self._path(handle)

    def _path(self, handle: int) -> str:
        self.descriptors.append(handle)
        return f"/proc/self/fd/{handle}"


def _fixed_arguments(name: Program, target: Target | None) -> list[str]:
    arguments = ["--no-password"]
    if name == "psql":
        arguments.append("--no-psqlrc")
    if name == "pg_restore" and target is not None:
        arguments.append("--dbname=")  # connect; empty, so that PGDATABASE says where
    return arguments


def _may_use_tls(target: Target) -> bool:
    return not target.is_local and target.sslmode != "disable"


def _connection(target: Target, secrets: _Handed) -> dict[str, str]:
    """The variables from which libpq takes the connection.

    PGDATABASE is taken literally, where ``--dbname`` would be read as a connection string or URI
    (fe-connect.c: conninfo_array_parse expands the parameter, conninfo_add_defaults doesn't).
    """
    variables = {
        "PGHOST": target.host,
        "PGPORT": str(target.port),
        "PGUSER": target.user,
        "PGDATABASE": target.database,
        "PGPASSFILE": secrets.file(_password_line(target)),
        "PGAPPNAME": "coffre",
        "PGOPTIONS": _OPTIONS,
        "PGCONNECT_TIMEOUT": "10",
        "PGGSSENCMODE": "disable",
        "PGSSLMODE": target.sslmode if _may_use_tls(target) else "disable",
    }
    if _may_use_tls(target) and target.sslmode.startswith("verify-"):
        variables["PGSSLROOTCERT"] = _public_authorities() if target.ca is None else secrets.file(target.ca)
    return variables


def _password_line(target: Target) -> str:
    """A password file's line for every host and database, or nothing.

    Source: https://www.postgresql.org/docs/current/libpq-pgpass.html
    """
    if target.password is None:
        return ""
    if "\n" in target.password or "\r" in target.password:
        raise ToolFailedError(
            f"the password for {target.label} holds a line break",
            "PostgreSQL's programs can't read such a one.",
        )
    escaped = target.password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"


def _public_authorities() -> str:
    import certifi  # only TCP with verification needs it

    return certifi.where()


def _opened(
    where: Path | int | None, mode: Literal["rb", "wb"], files: ExitStack, default: IO[bytes] | int
) -> IO[bytes] | int:
    if isinstance(where, Path):
        return files.enter_context(where.open(mode))
    return default if where is None else where


def _run(
    command: list[str],
    environment: dict[str, str],
    handed: Sequence[int],
    deadline: float,
    *,
    stdin: IO[bytes] | int,
    stdout: IO[bytes] | int,
    stderr: IO[bytes],
) -> int | None:
    """The exit code, or None if the program had to be ended."""
    process = start_tied(
        command,
        signal.SIGKILL,
        env=environment,
        pass_fds=handed,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    try:
        return wait(process, max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and its workers; interrupt first, so that it cancels what it runs on the server."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _message(said: IO[bytes], target: Target | None) -> str:
    """The end of what the program said, and its beginning if that is long; without anything secret."""
    said.seek(0)
    first, last = bytearray(), bytearray()
    for whole in without_values(said):
        line = whole[:_MESSAGE_BYTES]
        if len(first) < _MESSAGE_BYTES:
            first += line
            continue
        last += line
        if len(last) > 2 * _MESSAGE_BYTES:
            del last[:-_MESSAGE_BYTES]
            last[:0] = b"...\n"
    text = (first + last).decode(errors="replace").strip()
    if target is not None and target.password:
        for form in (target.password, quote(target.password, safe="")):
            text = text.replace(form, "***")
    return text
