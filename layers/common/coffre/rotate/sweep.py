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
from itertools import groupby, islice

from coffre.ids import BACKUP_ID
from coffre.rotate.changes import Changes, Counts
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
        Called before each request that changes something; raises to stop, for instance at a deadline.
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
        changes = Changes(self.store, self.check)
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
                self._apply(stored, what, changes)
        return changes.finish()

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
        changes, orphans = Changes(self.store, self.check), 0
        live = {backup.backup_id: backup for backup in self.inventory.live}
        fading = {backup.backup_id for backup in self.inventory.fading}
        for backup_id, group in groupby(self._files(), key=lambda pair: pair[0]):
            named = self._named(live[backup_id]) if backup_id in live else frozenset()
            for _, stored in group:
                needed = self._is_needed(stored.key, named, is_live=backup_id in live)
                what = fate(stored, self.horizon, needed=needed, fading=backup_id in fading)
                if what == "mark" and backup_of_manifest(stored.key) is not None:
                    what = "keep"
                orphans += what == "mark" and backup_id not in fading
                self._apply(stored, what, changes)
        return changes.finish(), orphans

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

    def _apply(self, stored: StoredKey, what: Fate, changes: Changes) -> None:
        if (what == "unmark" and not self._is_sound(stored)) or (
            what == "purge" and self._is_locked(stored, changes.counts)
        ):
            what = "wait"
        if self.dry_run:
            changes.counts.add(what, stored.bytes)
        else:
            changes.add(stored, what)

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
