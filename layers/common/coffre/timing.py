"""The time that a run has, and how it was spent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from coffre.errors import DeadlineExceededError


class Stopwatch:
    """Counts down to a run's end and measures its phases.

    Parameters
    ----------
    what:
        What runs, for the message when its time is over.
    seconds:
        How long it may take.

    Attributes
    ----------
    deadline:
        The end, on `time.monotonic`'s clock.
    phases:
        Seconds by phase, of those that have ended.
    """

    def __init__(self, what: str, seconds: float) -> None:
        self._what = what
        self.deadline = time.monotonic() + seconds
        self.phases: dict[str, float] = {}

    @property
    def seconds_left(self) -> float:
        """Until the end; at least a second, so that it can serve as a limit for a statement."""
        return max(1.0, self.deadline - time.monotonic())

    def check(self) -> None:
        """Look at the clock.

        Raises
        ------
        DeadlineExceededError
            If the time is over.
        """
        if time.monotonic() > self.deadline:
            raise DeadlineExceededError(f"{self._what} did not end in its time")

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a phase, and look at the clock at its end."""
        started = time.monotonic()
        yield
        self.phases[name] = round(time.monotonic() - started, 3)
        self.check()
