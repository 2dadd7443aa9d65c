"""The machine that the work runs on: PostgreSQL's programs, processes, memory, time and disk."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from coffre.errors.base import CoffreError


class ToolFailedError(CoffreError):
    """One of PostgreSQL's own programs ended with an error."""

    code = "tool-failed"
    advice = "The program's last lines tell why."


class ToolMissingError(CoffreError):
    """One of PostgreSQL's own programs isn't where the layer should have put it."""

    code = "tool-missing"
    advice = "Deploy the PostgreSQL layer, or run `make install` on a laptop."


class ServerStartError(CoffreError):
    """The ephemeral PostgreSQL did not start."""

    code = "server-start-failed"
    advice = "Its last log lines tell why; most often /tmp is full."


class WorkerFailedError(CoffreError):
    """A worker process died without an answer."""

    code = "worker-failed"
    advice = "Most often the function's memory was exhausted; raise it."


class DeadlineExceededError(CoffreError):
    """The run came too close to the end of its time."""

    code = "deadline-exceeded"
    advice = "Give the function more memory: it gets more CPU with it."


class DiskFullError(CoffreError):
    """The scratch space is full."""

    code = "disk-full"
    advice = "Raise the function's ephemeral storage."


@contextmanager
def disk_full_named() -> Iterator[None]:
    """Turn the system's "no space left on device" into a `DiskFullError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError("no space is left in the scratch space") from error
