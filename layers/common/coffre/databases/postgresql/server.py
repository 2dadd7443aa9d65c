"""A PostgreSQL of its own: started in a scratch folder in a fraction of a second, thrown away after use."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

from coffre.databases.postgresql.processes import clean_environment, end_with_parent
from coffre.databases.postgresql.seal import without_network
from coffre.databases.postgresql.template import unpack
from coffre.errors import DiskFullError, ServerStartError, ToolMissingError

SUPERUSER = "coffre_boot"
"""The template's bootstrap superuser: a name that no restored role has."""

UNPRIVILEGED = 65534
"""User and group ("nobody") of the server when root starts it; PostgreSQL refuses to run as root."""

_PORT = 5432  # only a part of the socket's name
_SOCKET_PATH_BYTES = 107  # unix(7): sun_path holds 108 with its end
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0  # the postmaster itself kills what ignores it after 5
_LOG_BYTES = 4096


class EphemeralServer:
    """A running PostgreSQL server that only a unix socket reaches and only its user can open.

    Needs neither shared memory files nor a passwd entry nor any writable folder but its scratch, so it runs
    in Lambda.  It stops with `stop`, at the end of a ``with`` block, and when this process dies.

    Attributes
    ----------
    major:
        PostgreSQL's major version.
    socket_dir:
        The folder of the unix socket: the ``host`` to connect to.
    port:
        The port to connect to; it only names the socket.
    superuser:
        The bootstrap superuser, who needs no password.

    Examples
    --------
    >>> with EphemeralServer.start(Path("/opt/postgres"), 16, Path("/tmp")) as server:
    ...     server.url("postgres")
    'postgresql:///postgres?host=/tmp/pg-k3x1&port=5432&user=coffre_boot'
    """

    superuser = SUPERUSER
    port = _PORT

    def __init__(self, major: int, home: Path, socket_dir: Path) -> None:
        self.major = major
        self.socket_dir = socket_dir
        self._home = home
        self._data = home / "data"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls,
        tools_root: Path,
        major: int,
        scratch: Path,
        *,
        settings: Mapping[str, str] | None = None,
        sealed: bool = False,
    ) -> Self:
        """Unpack the template, start the server and wait until it accepts connections.

        Parameters
        ----------
        tools_root:
            The tools' folder (in Lambda ``/opt/postgres``); the servers lie beside it, in ``proof/<major>``.
        major:
            The major version, 14 to 18; in Lambda only that of the function's own proof layer is there.
        scratch:
            Where the server makes a folder of its own for everything it writes.
        settings:
            Server settings by name, over those of the template.
        sealed:
            Whether the server has no network at all; see `without_network`.

        Raises
        ------
        ToolMissingError
            There is no server of that version.
        DiskFullError
            The scratch folder has no room for the template.
        ServerStartError
            The server ended or wasn't ready in time; the message holds its last log lines.  Or the kernel
            refused to seal it.
        """
        tree = (tools_root.parent / "proof" / str(major)).resolve()
        template = tree / "template.zst"
        if not template.is_file():
            raise ToolMissingError(f"there is no PostgreSQL {major} in {tree.parent}")
        user = UNPRIVILEGED if os.geteuid() == 0 else None
        if user is not None and not _open_to_all(scratch):
            raise ServerStartError(
                f"PostgreSQL would run as user {user}, who can't reach {scratch}",
                "Give a scratch folder that every user can enter, such as /tmp.",
            )
        home = Path(tempfile.mkdtemp(prefix="pg-", dir=scratch))
        server = cls(major, home, _socket_folder(home))
        try:
            if user is not None and not _open_to_all(tree):
                tree = Path(shutil.copytree(tree, home / "postgres"))
            server._unpack(template, user)
            server._process = server._launch(tree / "bin/postgres", user, settings or {}, sealed=sealed)
            server._wait_until_ready(server._process)
        except subprocess.SubprocessError as error:  # what Popen makes of an error before the program
            server.stop()
            raise ServerStartError(f"PostgreSQL {major} can't be kept from the network here") from error
        except OSError as error:
            server.stop()
            if error.errno == errno.ENOSPC:
                raise DiskFullError(f"no room for PostgreSQL {major} in {scratch}") from error
            raise ServerStartError(f"PostgreSQL {major} can't start in {scratch}: {error}") from error
        except BaseException:
            server.stop()
            raise
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def url(self, database: str) -> str:
        """The URL with which the superuser connects to ``database``."""
        place = {"host": str(self.socket_dir), "port": self.port, "user": self.superuser}
        return f"postgresql:///{quote(database, safe='')}?{urlencode(place, safe='/', quote_via=quote)}"

    def stop(self) -> None:
        """Shut down at once and remove all that the server wrote.  Does nothing the second time."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.rmtree(self.socket_dir, ignore_errors=True)

    @property
    def _log(self) -> Path:
        return self._data / "server.log"

    def _unpack(self, template: Path, user: int | None) -> None:
        unpack(template, self._data, user)
        self._log.touch()
        if user is not None:
            for path in (self._home, self.socket_dir, self._log):
                os.chown(path, user, user)

    def _launch(
        self, program: Path, user: int | None, settings: Mapping[str, str], *, sealed: bool
    ) -> subprocess.Popen[bytes]:
        command = [str(program), "-D", str(self._data), "-k", str(self.socket_dir), "-p", str(self.port)]
        command += [f"--{name}={value}" for name, value in settings.items()]
        started: Future[subprocess.Popen[bytes]] = Future()
        seal = without_network() if sealed else None
        tie = end_with_parent(signal.SIGQUIT)

        def before_program() -> None:
            tie()
            if seal is not None:
                seal()

        def own() -> None:
            """Start the server and wait for its end: its life is tied to the thread that started it."""
            try:
                with self._log.open("ab") as log:
                    process = subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd="/",
                        env=clean_environment(),
                        user=user,
                        group=user,
                        extra_groups=None if user is None else [],
                        start_new_session=True,
                        preexec_fn=before_program,  # noqa: PLW1509 - it takes no lock
                    )
            except BaseException as error:
                started.set_exception(error)
                return
            started.set_result(process)
            process.wait()

        threading.Thread(target=own, name=f"postgres-{self.major}", daemon=True).start()
        return started.result()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if process.poll() is not None:
                raise ServerStartError(f"PostgreSQL {self.major} ended at once: {self._last_log_lines()}")
            if time.monotonic() > deadline:
                raise ServerStartError(
                    f"PostgreSQL {self.major} isn't ready in time: {self._last_log_lines()}"
                )
            time.sleep(0.01)

    def _is_ready(self) -> bool:
        """Whether the last line of postmaster.pid says so (the protocol of pg_ctl, see miscadmin.h)."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _last_log_lines(self) -> str:
        return self._log.read_bytes()[-_LOG_BYTES:].decode(errors="replace").strip()


def _open_to_all(folder: Path) -> bool:
    """Whether every user can enter ``folder``."""
    place = folder.resolve()
    return all(path.stat().st_mode & stat.S_IXOTH for path in (place, *place.parents))


def _socket_folder(home: Path) -> Path:
    """``home``, or a folder with a shorter name if a socket in it couldn't be addressed."""
    if len(os.fsencode(home / f".s.PGSQL.{_PORT}")) <= _SOCKET_PATH_BYTES:
        return home
    return Path(tempfile.mkdtemp(prefix="pg-"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask for an immediate shutdown; kill the postmaster and its children if that takes too long.

    Its children aren't in its process group (each makes a session of its own), so they are found by parent.
    """
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        doomed = [process.pid]
        with suppress(OSError):  # it has ended at this very moment, and so may its children have
            doomed += map(int, children.read_text().split())
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
