"""What a sweep does to the bucket, a thousand keys with one request, and what it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from coffre.errors import DeleteRefusedError
from coffre.rotate.inventory import Fate, StoredKey
from coffre.vault.objects import Version
from coffre.vault.store import DELETES, ObjectStore


@dataclass
class Counts:
    """What a sweep did, or would do: objects and their stored bytes.

    Attributes
    ----------
    locked, locked_bytes, locked_until:
        Of what waits: what only Object Lock keeps, and the last date among them.  A legal hold has none.
    """

    marked: int = 0
    marked_bytes: int = 0
    purged: int = 0
    purged_bytes: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    unmarked: int = 0
    locked: int = 0
    locked_bytes: int = 0
    locked_until: datetime | None = None

    def add(self, what: Fate, size: int) -> None:
        """Count one object."""
        if what == "mark":
            self.marked += 1
            self.marked_bytes += size
        elif what == "purge":
            self.purged += 1
            self.purged_bytes += size
        elif what == "wait":
            self.waiting += 1
            self.waiting_bytes += size
        elif what == "unmark":
            self.unmarked += 1

    def add_locked(self, size: int, until: datetime | None) -> None:
        """Count one object that waits for its lock."""
        self.locked += 1
        self.locked_bytes += size
        if until is not None:
            self.locked_until = max(until, self.locked_until or until)


@dataclass
class Changes:
    """Carries out what is to happen to keys, as soon as there is enough for a request.

    Attributes
    ----------
    check:
        Called before each request; raises to stop, for instance at a deadline.
    counts:
        What was done so far.
    """

    store: ObjectStore
    check: Callable[[], None]
    counts: Counts = field(default_factory=Counts)
    _held: list[tuple[StoredKey, Fate]] = field(default_factory=list, init=False, repr=False)

    def add(self, stored: StoredKey, what: Fate) -> None:
        """Let something happen to a key, now or later.

        Raises
        ------
        DeleteRefusedError
            If a marker has to stay whose chunk is needed.
        StoreUnavailableError
            In both cases some of what was to be done may be done.
        """
        if what in ("keep", "wait"):
            self.counts.add(what, stored.bytes)
            return
        self._held.append((stored, what))
        if len(self._held) == DELETES:
            self._carry_out()

    def finish(self) -> Counts:
        """Carry out what is left; all that was done."""
        self._carry_out()
        return self.counts

    def _carry_out(self) -> None:
        held, self._held = self._held, []
        keys: dict[Fate, list[StoredKey]] = {}
        for stored, what in held:
            keys.setdefault(what, []).append(stored)
        self._mark(keys.get("mark", ()))
        self._unmark(keys.get("unmark", ()))
        refused = self._purge(keys.get("purge", ()))
        for stored, what in held:
            self.counts.add("wait" if stored.key in refused else what, stored.bytes)

    def _mark(self, doomed: Iterable[StoredKey]) -> None:
        if keys := [stored.key for stored in doomed]:
            self.check()
            self.store.mark_all_deleted(keys)

    def _unmark(self, needed: Iterable[StoredKey]) -> None:
        if hidden := self._delete(version for stored in needed for version in stored.markers):
            raise DeleteRefusedError(f"the store refused to delete the marker of {min(hidden)}")

    def _purge(self, doomed: Iterable[StoredKey]) -> set[str]:
        """Versions go before their markers, so that a purge cut short leaves nothing visible.

        Returns
        -------
        set
            The keys that the store doesn't let go yet (Object Lock); they keep their markers.
        """
        doomed = tuple(doomed)
        refused = self._delete(version for stored in doomed for version in stored.bodies)
        gone = (stored for stored in doomed if stored.key not in refused)
        return refused | self._delete(version for stored in gone for version in stored.markers)

    def _delete(self, doomed: Iterable[Version]) -> set[str]:
        versions = list(doomed)
        if not versions:
            return set()
        self.check()
        return self.store.delete_versions(versions)
