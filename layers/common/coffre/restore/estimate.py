"""How long a restore will take, from those that were measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from statistics import median

from coffre.catalogue.entries import RestoreEntry

LOOKED_AT = 100
USED = 10
UNKNOWN = "unknown, no restore was measured"


@dataclass(frozen=True)
class Estimate:
    """Seconds, or None, and what that rests on."""

    seconds: float | None
    basis: str


def estimate(size: int, measured: Iterable[RestoreEntry]) -> Estimate:
    """Estimate a restore of ``size`` bytes of rows.

    Each measured one is scaled by its size, upwards only: what a small restore takes is mostly not its rows.
    The median of the newest ones counts.  Proofs are restores into another machine, so they count only where
    no real restore was measured.

    Parameters
    ----------
    measured:
        Newest first; only a bounded number is read.
    """
    known = [
        entry
        for entry in islice(measured, LOOKED_AT)
        if entry.status == "completed"
        and entry.kind in ("new", "swap", "drill", "proof")
        and entry.milliseconds
    ]
    real = [entry for entry in known if entry.kind != "proof"][:USED]
    used = real or known[:USED]
    if not used:
        return Estimate(None, UNKNOWN)
    seconds = median(entry.milliseconds / 1000 * max(1.0, size / max(1, entry.bytes)) for entry in used)
    what = "restore" if real else "proof"
    number = f"{len(used)} {what}s" if len(used) > 1 else f"1 {what}"
    return Estimate(
        round(seconds, 1), f"the median of {number}, scaled by size; the newest of {_minute(used[0].time)}"
    )


def _minute(stamped: str) -> str:
    """A time that `coffre.ids.stamp` wrote, to the minute."""
    return f"{stamped[:10]} {stamped[11:16]} UTC"
