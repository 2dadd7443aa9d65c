"""Object Lock: how long the store itself refuses to delete what a backup needs.

The bucket's own configuration says whether there is a lock, and of which mode; nothing else is believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from coffre.vault.objects import ObjectInfo

LONGEST = timedelta(days=3653)
"""No lock is longer, whatever a policy says; the bucket's policy refuses longer ones, too."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class LockRule:
    """A bucket's default retention: its mode (``GOVERNANCE`` or ``COMPLIANCE``), and how long it is."""

    mode: str
    default: timedelta

    def of(self, taken: datetime, span: timedelta) -> Lock:
        """The lock of a backup that its tier keeps for ``span``.

        Ends lie on a grid of an eighth of the span, at least a day, and the end is rounded up to it: so a
        chunk that each backup uses again needs a longer lock once in a while and not each time.

        Parameters
        ----------
        span:
            Zero: no tier promises anything, and the bucket's default counts.
        """
        span = min(span or self.default, LONGEST - timedelta(days=1))
        step = max(timedelta(days=1), timedelta(days=span // timedelta(days=8)))
        steps = -((_EPOCH - taken - span) // step)
        return Lock(self.mode, min(_EPOCH + steps * step, taken + LONGEST - timedelta(days=1)))


@dataclass(frozen=True)
class Lock:
    """Nobody can delete a version before ``until``."""

    mode: str
    until: datetime

    @property
    def headers(self) -> dict[str, str]:
        """What a PUT says to lock what it writes."""
        return {
            "x-amz-object-lock-mode": self.mode,
            "x-amz-object-lock-retain-until-date": f"{self.until:%Y-%m-%dT%H:%M:%SZ}",
        }

    def hand_over(self) -> dict[str, Any]:
        """The lock as plain values, for another process."""
        return {"mode": self.mode, "until": self.until.isoformat()}

    @classmethod
    def handed_over(cls, message: dict[str, Any] | None) -> Self | None:
        """The inverse of `hand_over`; None stays None."""
        return cls(message["mode"], datetime.fromisoformat(message["until"])) if message else None


def is_locked(info: ObjectInfo, lock: Lock) -> bool:
    """Whether a version is locked for as long as ``lock`` asks."""
    return info.locked_until is not None and info.locked_until >= lock.until.replace(microsecond=0)
