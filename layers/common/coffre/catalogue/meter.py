"""How far a run is: counted in the run, told to the catalogue now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

SECONDS = 2.0
"""Between two reports at least: each of them is a paid write."""


class Tell(Protocol):
    """Writes a report."""

    def __call__(self, *, rows: int, done: int, total: int) -> object:
        """``done`` of ``total`` bytes, and the rows so far."""


class Meter:
    """Counts rows and bytes.

    Parameters
    ----------
    tell:
        Where reports go, at most one every two seconds.
    total:
        The bytes that there are to do.
    """

    def __init__(self, tell: Tell, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._total = total
        self._clock = clock
        self._rows = self._done = 0
        self._told = clock()

    def add(self, *, rows: int, done: int) -> None:
        """So much more is done."""
        self._rows += rows
        self._done += done
        if self._clock() - self._told >= SECONDS:
            self._told = self._clock()
            self._tell(rows=self._rows, done=self._done, total=self._total)
