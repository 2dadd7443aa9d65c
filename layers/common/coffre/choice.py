"""Where a backup or a restore runs: in one function, or on a state machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Where = Literal["function", "machine"]
Runs = Literal["auto", "function", "machine"]
"""What somebody asks for."""

MARGIN = 0.6
"""What is expected to need no more than this share of one function's time runs in it."""


@dataclass(frozen=True)
class Choice:
    """Where it runs, and why."""

    where: Where
    reason: str


def by_time(needed: float, seconds: float, told: str) -> Choice:
    """Where something runs that is expected to take ``needed`` seconds.

    Parameters
    ----------
    seconds:
        What one function has.
    told:
        What the expectation rests on.
    """
    if needed <= seconds * MARGIN:
        return Choice("function", f"{told}: it fits into one function")
    return Choice("machine", f"{told}: more than {MARGIN:.0%} of the {seconds:.0f} s of one function")
