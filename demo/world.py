"""What the demo stands on, gone without a trace at the end: a PostgreSQL, and room for a local cloud."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import localcloud
from coffre.databases.postgresql.server import EphemeralServer
from demo.errors import DemoError
from demo.sql import Place, execute

ROOT = Path(__file__).parents[1]
OPT = ROOT / ".coffre" / "opt"
"""Where the local cloud puts what layers make."""

MAJOR = 16
SUPERUSER = "postgres"


class World:
    """A folder of its own with everything that the demo makes."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self._folder = folder
        self._server: EphemeralServer | None = None

    @property
    def place(self) -> Place:
        """Where the customer's PostgreSQL is.

        Raises
        ------
        DemoError
            If it isn't started yet.
        """
        if self._server is None:
            raise DemoError("PostgreSQL isn't started yet")
        return Place(self._server.socket_dir, self._server.port, SUPERUSER)

    def assemble(self) -> None:
        """Put PostgreSQL together where the local cloud's functions look for it, too.

        Raises
        ------
        DemoError
        """
        for layer in (["postgres"], ["proof", str(MAJOR)]):
            script = ROOT / "layers" / layer[0] / "assemble.py"
            command = [sys.executable, str(script), str(OPT), *layer[1:]]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = done.stderr.strip().splitlines()
                raise DemoError(
                    f"PostgreSQL can't be put together: {lines[-1] if lines else done.returncode}"
                )

    def start_server(self) -> None:
        """Start the customer's PostgreSQL; it stops with this world."""
        server = EphemeralServer.start(OPT / "postgres", MAJOR, self._folder)
        self._server = server
        # A customer's superuser isn't called like that of the server that proves backups.
        _rename_superuser(Place(server.socket_dir, server.port, server.superuser))

    def close(self) -> None:
        """Stop everything that runs and remove everything that was written."""
        with suppress(localcloud.LocalCloudError):
            localcloud.down(self.state)
        if self._server is not None:
            self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _rename_superuser(place: Place) -> None:
    """Rename the bootstrap superuser, which takes another superuser for a moment."""
    helper = replace(place, user="renamer")
    execute(place, "postgres", f"CREATE ROLE {helper.user} SUPERUSER LOGIN")
    execute(helper, "postgres", f"ALTER ROLE {place.user} RENAME TO {SUPERUSER}")
    execute(replace(place, user=SUPERUSER), "postgres", f"DROP ROLE {helper.user}")


@contextmanager
def make_world() -> Iterator[World]:
    """A world that is taken down whatever happens; once that has begun, Ctrl-C doesn't disturb it."""
    folder = Path(tempfile.mkdtemp(prefix="coffre-demo-"))
    folder.chmod(0o755)  # as root, PostgreSQL runs as somebody else
    world = World(folder)
    try:
        yield world
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        world.close()
