"""Hides what no backup names, and deletes later what stayed hidden: mark and purge on a versioned bucket.

Why no backup ever loses a chunk, without any lock:

- A run that uses an existing chunk has seen it without a marker, so it began before the marker; it commits
  within ``max_run`` or never.  A purge reads all references after that time, so it sees that backup.
- A run that meets a marker uploads the chunk again: a new version above the marker, which no purge of that
  marker touches, because it deletes only the versions that it listed.
- What a run wrote itself is younger than ``max_run`` until its backup is committed, and is not marked.
- Readers look behind markers; and what a backup names whose manifest was hidden waits until nobody who
  began to read it before can still be at it.

Marking never deletes a version.  Each step can be repeated, so a sweep that was cut short is just run again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice

from coffre.errors import DeleteRefusedError
from coffre.ids import BACKUP_ID
from coffre.rotate.inventory import Backup, Fate, Horizon, Inventory, StoredKey, fate, stored_keys
from coffre.rotate.references import References
from coffre.vault.layout import Layout, backup_of_manifest
from coffre.vault.locate import is_sound_chunk
from coffre.vault.reader import load_manifest
from coffre.vault.store import ObjectStore

WINDOW = 131_072
"""Chunks that are held at a time, while the references of all backups are read: 80 MB of memory."""

_CHUNK = re.compile(r"(?P<folder>[0-9a-f]{2})/(?P<id>(?P=folder)[0-9a-f]{62})\Z")
_OURS = re.compile(r"(?P<backup>[^/]+)/(?:[0-9a-f]{12}|notes)/.|(?P<of_manifest>[^/]+)/manifest\.json\Z")


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


@dataclass(frozen=True)
class Sweep:
    """One sweep of one database's vault.

    Attributes
    ----------
    inventory:
        The backups as they are after this rotation's own deletions.
    horizon:
        Computed from a time before the inventory was taken.
    check:
        Called before each change; raises to stop, for instance at a deadline.
    dry_run:
        Count, and change nothing.
    damaged:
        Chunks that this rotation puts aside; see `coffre.rotate.quarantine`.
    has_locks:
        The bucket has Object Lock, so what is to be purged is asked for its lock first.
    """

    store: ObjectStore
    layout: Layout
    inventory: Inventory
    horizon: Horizon
    check: Callable[[], None]
    dry_run: bool = False
    damaged: frozenset[bytes] = frozenset()
    has_locks: bool = False

    def chunks(self) -> Counts:
        """Sweep the chunks.

        Raises
        ------
        ManifestInvalidError, FormatUnsupportedError, ObjectMissingError, ObjectCorruptError
            If a live backup's references can't be read: then nothing more is marked or purged.
        StoreUnavailableError
        """
        counts = Counts()
        live = References(self.store, self.layout, self.inventory.live)
        hidden = References(self.store, self.layout, self.inventory.fading, lenient=True)
        for window in chunk_windows(self.store, self.layout):
            waste = live.unnamed(window)
            unread = hidden.unnamed(waste)
            for identifier, stored in window.items():
                needed, fading = identifier not in waste, identifier not in unread
                what = fate(stored, self.horizon, needed=needed, fading=fading)
                if identifier in self.damaged:
                    what = "wait"
                self._apply(stored, what, counts)
        return counts

    def files(self) -> tuple[Counts, int]:
        """Sweep the files of attempts: those of deleted backups, and orphans that no backup names.

        Returns
        -------
        counts, orphans
            What was done, and how many orphans were marked.

        Raises
        ------
        ManifestInvalidError, FormatUnsupportedError, StoreUnavailableError
        """
        counts, orphans = Counts(), 0
        live = {backup.backup_id: backup for backup in self.inventory.live}
        fading = {backup.backup_id for backup in self.inventory.fading}
        for backup_id, group in groupby(self._files(), key=lambda pair: pair[0]):
            named = self._named(live[backup_id]) if backup_id in live else frozenset()
            for _, stored in group:
                needed = self._is_needed(stored.key, named, is_live=backup_id in live)
                what = fate(stored, self.horizon, needed=needed, fading=backup_id in fading)
                if what == "mark" and backup_of_manifest(stored.key) is not None:
                    what = "keep"
                done = self._apply(stored, what, counts)
                orphans += done == "mark" and backup_id not in fading
        return counts, orphans

    def _files(self) -> Iterator[tuple[str, StoredKey]]:
        """What is ours below ``backups/``; anything else is left alone."""
        for stored in stored_keys(self.store.versions(self.layout.backups)):
            match = _OURS.match(stored.key.removeprefix(self.layout.backups))
            backup_id = match and (match["backup"] or match["of_manifest"])
            if backup_id and BACKUP_ID.match(backup_id):
                yield backup_id, stored

    def _named(self, backup: Backup) -> frozenset[str]:
        name, version = backup.backup_id, backup.version
        manifest, _ = load_manifest(self.store, self.layout.database, name, version=version)
        return frozenset(file.key for file in (*manifest.files, *manifest.parts, *manifest.refs))

    def _is_needed(self, key: str, named: frozenset[str], *, is_live: bool) -> bool:
        """Whether a file stays visible.  Only a decision hides a manifest; notes go after their backup."""
        if backup_of_manifest(key) is not None:
            return is_live
        return key in named or (is_live and key.split("/")[3] == "notes")

    def _apply(self, stored: StoredKey, what: Fate, counts: Counts) -> Fate:
        if what == "unmark" and not self._is_sound(stored):
            what = "wait"
        if what == "purge" and self._is_locked(stored, counts):
            what = "wait"
        if not self.dry_run and not self._change(stored, what):
            what = "wait"
        counts.add(what, stored.bytes)
        return what

    def _is_sound(self, stored: StoredKey) -> bool:
        """Whether what would come to light again is right: a damaged chunk stays aside."""
        is_chunk = stored.key.startswith(self.layout.chunks)
        return not is_chunk or is_sound_chunk(self.store, stored.key, stored.bodies[0].version)

    def _is_locked(self, stored: StoredKey, counts: Counts) -> bool:
        """Whether Object Lock keeps any version; if so it is counted."""
        if not self.has_locks:
            return False
        infos = [self.store.head(stored.key, version.version) for version in stored.bodies]
        ends = [info.locked_until for info in infos if info is not None and info.locked_until is not None]
        until = max(ends, default=None)
        locked = until is not None and until > self.horizon.moment
        if locked or any(info is not None and info.legal_hold for info in infos):
            counts.add_locked(stored.bytes, until if locked else None)
            return True
        return False

    def _change(self, stored: StoredKey, what: Fate) -> bool:
        """Do it; False if the store doesn't let a version go yet (Object Lock)."""
        self.check()
        if what == "mark":
            self.store.mark_deleted(stored.key)
        elif what == "unmark":
            self._delete(stored, only_markers=True)
        elif what == "purge":
            try:
                self._delete(stored, only_markers=False)
            except DeleteRefusedError:
                return False
        return True

    def _delete(self, stored: StoredKey, *, only_markers: bool) -> None:
        """Versions go before their markers, so that a purge cut short leaves nothing visible."""
        for version in (*(() if only_markers else stored.bodies), *stored.markers):
            self.store.delete_version(stored.key, version.version)


def chunk_windows(store: ObjectStore, layout: Layout) -> Iterator[dict[bytes, StoredKey]]:
    """The database's chunks by id, in order, `WINDOW` at a time.  Other keys are left alone.

    A window is empty once the next one is asked for.
    """
    found = (
        (bytes.fromhex(match["id"]), stored)
        for stored in stored_keys(store.versions(layout.chunks))
        if (match := _CHUNK.match(stored.key.removeprefix(layout.chunks)))
    )
    while window := dict(islice(found, WINDOW)):
        yield window
        window.clear()  # its memory is for the next one


def freed_bytes(
    store: ObjectStore, layout: Layout, kept: Sequence[Backup], doomed: Sequence[Backup]
) -> dict[str, int]:
    """Stored bytes of the chunks that a doomed backup names and no kept one does, by backup id.

    Raises
    ------
    ManifestInvalidError, FormatUnsupportedError, ObjectMissingError, ObjectCorruptError
        If the references of one of them can't be read.
    StoreUnavailableError
    """
    freed = {backup.backup_id: 0 for backup in doomed}
    staying = References(store, layout, kept)
    going = {backup.backup_id: References(store, layout, [backup]) for backup in doomed}
    for window in chunk_windows(store, layout) if freed else ():
        loose = staying.unnamed(window)
        for backup_id, references in going.items():
            alone = loose - references.unnamed(loose)
            freed[backup_id] += sum(window[identifier].bytes for identifier in alone)
    return freed
