"""Object Lock: how long the store itself refuses to delete what a backup needs.

The bucket's own configuration says whether there is a lock, and of which mode; nothing else is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from coffre.vault.objects import ObjectInfo

if TYPE_CHECKING:
    from coffre.vault.store import ObjectStore

LONGEST = timedelta(days=3653)
"""No lock is longer, whatever a policy says; the bucket's policy refuses longer ones, too."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_THREADS = 16
_BATCH = 1_000


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


def extend(store: ObjectStore, info: ObjectInfo, lock: Lock) -> bool:
    """Lock the version that ``info`` is about until ``lock`` ends; False if it is locked as long already.

    It never makes a lock shorter, and speaks of that version alone: a marker above it changes nothing.

    Raises
    ------
    ObjectMissingError, StoreUnavailableError
    """
    if is_locked(info, lock):
        return False
    store.retain(info.key, info.version, lock)
    return True


def extend_all(store: ObjectStore, keys: Iterable[str], lock: Lock, check: Callable[[], None]) -> int:
    """Extend the locks of objects, hidden ones too; how many were shorter.

    Parameters
    ----------
    check:
        Called before each batch; raises to stop.

    Raises
    ------
    ObjectMissingError, StoreUnavailableError
    """
    return _for_each(keys, lambda key: sum(extend(store, info, lock) for info in bodies(store, key)), check)


def set_legal_hold(store: ObjectStore, keys: Iterable[str], check: Callable[[], None], *, on: bool) -> int:
    """Set or lift the legal hold of objects, hidden ones too; how many versions that were.

    Raises
    ------
    ObjectMissingError, StoreUnavailableError
    """

    def change(key: str) -> int:
        found = [info for info in bodies(store, key) if info.legal_hold != on]
        for info in found:
            store.legal_hold(key, info.version, on=on)
        return len(found)

    return _for_each(keys, change, check)


def bodies(store: ObjectStore, key: str) -> list[ObjectInfo]:
    """What a key holds: its visible version, or, behind a marker, all of its versions.

    Raises
    ------
    StoreUnavailableError
    """
    visible = store.head(key)
    if visible is not None:
        return [visible]
    hidden = (v for v in store.versions(key) if v.key == key and not v.marker)
    found = (store.head(key, version.version) for version in hidden)
    return [info for info in found if info is not None]


def _for_each(keys: Iterable[str], change: Callable[[str], int], check: Callable[[], None]) -> int:
    """The sum over all keys, a batch at a time: a pool's own queue would hold them all."""
    rest, total = iter(keys), 0
    with ThreadPoolExecutor(_THREADS, "lock") as threads:
        while batch := list(islice(rest, _BATCH)):
            check()
            total += sum(threads.map(change, batch))
    return total
