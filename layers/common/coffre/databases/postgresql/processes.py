"""Child processes that start clean and don't outlive their parent."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from coffre.compiled import compiled

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def clean_environment() -> dict[str, str]:
    """An environment without credentials, without ``PG*`` and without anybody's home directory."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC", "HOME": "/nonexistent"}


def end_with_parent(number: signal.Signals) -> Callable[[], None]:
    """What a child runs before its program, so that the kernel signals it when its parent dies.

    The kernel's "parent" is the thread that started the child (prctl(2), PR_SET_PDEATHSIG), so that thread
    must live as long as the child shall.

    Parameters
    ----------
    number:
        The signal that the child gets.

    Returns
    -------
    Callable
        For `subprocess.Popen`'s ``preexec_fn``.  It calls nothing that takes a lock.
    """
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl

    def before_program() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel knew whom to signal
            os._exit(1)

    return before_program


def start_tied(command: Sequence[str], number: signal.Signals, **options: Any) -> subprocess.Popen[bytes]:
    """Start a program that gets a signal when the thread ends that started it; see `end_with_parent`.

    What is done between fork and exec costs a copy of this process's memory tables: 70 ms in a process of
    400 MiB that is busy.  So a small program does it where it is installed (``layers/common/native/tie.c``),
    and there is no such fork.

    Parameters
    ----------
    options:
        Of `subprocess.Popen`, without ``preexec_fn``.

    Raises
    ------
    OSError
    """
    tie = _tie()
    if tie is not None:
        return subprocess.Popen([tie, str(int(number)), str(os.getpid()), *command], **options)
    return subprocess.Popen(
        command,
        preexec_fn=end_with_parent(number),  # noqa: PLW1509 - it takes no lock
        **options,
    )


def _tie() -> str | None:
    """The program, if it is there and can be executed: an archive may have lost that."""
    path: Path | None = getattr(compiled(), "TIE", None)
    return str(path) if path is not None and os.access(path, os.X_OK) else None


def wait(process: subprocess.Popen[bytes], seconds: float) -> int:
    """A program's exit code, as soon as there is one: `subprocess.Popen.wait` looks 20 times a second.

    Raises
    ------
    subprocess.TimeoutExpired
    """
    with suppress(OSError):  # a kernel older than 5.3, or none of Linux: then it is looked for
        handle = os.pidfd_open(process.pid)
        try:
            end = select.poll()
            end.register(handle, select.POLLIN)
            if not end.poll(seconds * 1000):
                raise subprocess.TimeoutExpired(process.args, seconds)
            return process.wait()
        finally:
            os.close(handle)
    return process.wait(seconds)
