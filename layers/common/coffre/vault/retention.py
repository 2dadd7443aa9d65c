"""Longer locks, and legal holds, for what is in the vault already."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from coffre.vault.locks import Lock, is_locked
from coffre.vault.objects import ObjectInfo
from coffre.vault.store import ObjectStore

_THREADS = 16
_BATCH = 1_000


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
