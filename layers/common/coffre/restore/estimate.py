"""How long a restore will take, from those that were measured, and where it runs.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from statistics import median

from coffre.catalogue.entries import NEWEST_RESTORES, RestoreEntry
from coffre.choice import Choice, Runs, Where, by_time

USED = 10
UNKNOWN = "unknown, no restore was measured"

ASSUMED_BYTES_PER_SECOND = 10_000_000
ASSUMED_SECONDS = 15.0
"""Where nothing was measured: COPY text with all that follows it, and what comes beside it; slower than any
server that was tried, so that nothing is promised."""

COMPARABLE = 10


def choose(
    size: int,
    measured: Iterable[RestoreEntry],
    seconds: float,
    *,
    runs: Runs = "auto",
    machine: bool = True,
) -> Choice:
    """Where a restore of ``size`` bytes of rows runs.

    Parameters
    ----------
    measured:
        Newest first, as for `estimate`; those that ran in one function count, and held a tenth as much at
        least: what a small one takes says little about a large one.
    seconds:
        What one function has.
    runs:
        What was asked for.
    machine:
        Whether there is a state machine at all.
    """
    alike = (entry for entry in islice(measured, NEWEST_RESTORES) if entry.bytes * COMPARABLE >= size)
    needed = estimate(size, alike, "function").seconds
    told = f"about {needed:.0f} s as measured" if needed is not None else ""
    if needed is None:
        needed = ASSUMED_SECONDS + size / ASSUMED_BYTES_PER_SECOND
        told = f"about {needed:.0f} s at {ASSUMED_BYTES_PER_SECOND / 1e6:.0f} MB/s (assumed)"
    if runs != "auto":
        return Choice(runs, f"asked for (runs: {runs}); {told}")
    choice = by_time(needed, seconds, told)
    if choice.where == "machine" and not machine:
        return Choice("function", f"{told}, and there is no state machine here")
    return choice


@dataclass(frozen=True)
class Estimate:
    """Seconds, or None, and what that rests on."""

    seconds: float | None
    basis: str


def estimate(size: int, measured: Iterable[RestoreEntry], where: Where | None = None) -> Estimate:
    """Estimate a restore of ``size`` bytes of rows.

    Each measured one is scaled by its size, upwards only: what a small restore takes is mostly not its rows.
    The median of the newest ones counts.  Proofs are restores into another machine, so they count only where
    no real restore was measured.

    Parameters
    ----------
    measured:
        Newest first; only a bounded number is read.
    where:
        Those that ran there count; None: all.
    """
    known = [
        entry
        for entry in islice(measured, NEWEST_RESTORES)
        if entry.status == "completed"
        and entry.kind in ("new", "swap", "drill", "proof")
        and entry.milliseconds
        and where in (None, entry.where)
    ]
    real = [entry for entry in known if entry.kind != "proof"][:USED]
    used = real or known[:USED]
    if not used:
        return Estimate(None, UNKNOWN)
    seconds = median(entry.milliseconds / 1000 * max(1.0, size / max(1, entry.bytes)) for entry in used)
    what = ("restore" if real else "proof") + ("s" if len(used) > 1 else "")
    if all(entry.bytes > size for entry in used):
        basis = f"no more than the median of {len(used)} larger {what}"
    else:
        basis = f"the median of {len(used)} {what}, scaled up by size"
    return Estimate(round(seconds, 1), f"{basis}; the newest of {_minute(used[0].time)}")


def _minute(stamped: str) -> str:
    """A time that `coffre.ids.stamp` wrote, to the minute."""
    return f"{stamped[:10]} {stamped[11:16]} UTC"
