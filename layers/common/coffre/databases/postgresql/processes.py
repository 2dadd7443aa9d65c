"""Child processes that start clean and don't outlive their parent."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

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
