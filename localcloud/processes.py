"""Ending a function's process with everything that it started."""

import contextlib
import os
import signal
from pathlib import Path


def kill_tree(group: int, marker: str) -> None:
    """Kill a process group, and the processes that left it but carry the marker.

    A server started by a function (PostgreSQL by ``pg_ctl``) makes a session of its own and so leaves the
    group; it still has the environment it inherited.

    Args:
        group: process group id, the function's own.
        marker: text that stands in the environment of this function's processes and of no others.
    """
    for pid in _marked(marker.encode()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _marked(marker: bytes) -> list[int]:
    """Process ids whose environment holds the marker; none on systems without ``/proc``."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if marker in environ.read_bytes():
                found.append(int(environ.parent.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process of that id exists and is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
