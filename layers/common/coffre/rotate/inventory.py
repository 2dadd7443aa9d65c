"""What lies in a database's vault, visible or hidden, as far as rotation needs to know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Literal

from coffre.vault.layout import Layout, backup_of_manifest
from coffre.vault.notes import Note, parse_note
from coffre.vault.objects import Version
from coffre.vault.store import ObjectStore

MARGIN = timedelta(hours=1)
"""Added to the longest run before anything is purged: for clocks that differ and answers that are late."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key with all its versions and delete markers."""

    key: str
    versions: tuple[Version, ...]

    @property
    def latest(self) -> Version | None:
        """What a plain read meets: a version, or a marker."""
        return next((version for version in self.versions if version.latest), None)

    @property
    def bodies(self) -> tuple[Version, ...]:
        """The versions that hold bytes."""
        return tuple(version for version in self.versions if not version.marker)

    @property
    def markers(self) -> tuple[Version, ...]:
        """The delete markers."""
        return tuple(version for version in self.versions if version.marker)

    @property
    def bytes(self) -> int:
        """Stored bytes of all versions."""
        return sum(version.size for version in self.bodies)


def stored_keys(versions: Iterable[Version]) -> Iterator[StoredKey]:
    """Group a listing of versions by key."""
    for key, group in groupby(versions, key=lambda version: version.key):
        yield StoredKey(key, tuple(group))


@dataclass(frozen=True)
class Horizon:
    """What is old enough.

    Attributes
    ----------
    moment:
        When the sweep started.
    mark_before:
        Only what was written before this may be hidden: no run that wrote it still goes on.
    purge_before:
        Only what was hidden before this may be deleted: no run that used it unhidden still goes on.
    """

    moment: datetime
    mark_before: datetime
    purge_before: datetime

    @classmethod
    def at(cls, moment: datetime, max_run: timedelta, oldest_run: datetime | None) -> Horizon:
        """The horizon of a sweep that starts at ``moment``.

        Parameters
        ----------
        max_run:
            Longest that any run may take.
        oldest_run:
            When the oldest run started that is recorded as going on.  It only ever makes a sweep more
            careful, for instance after ``max_run`` was lowered; safety doesn't depend on it.
        """
        written = moment - max_run
        hidden = written - MARGIN
        if oldest_run is not None:
            written, hidden = min(written, oldest_run - MARGIN), min(hidden, oldest_run - MARGIN)
        return cls(moment, written, hidden)


Fate = Literal["keep", "mark", "wait", "unmark", "purge"]


def fate(stored: StoredKey, horizon: Horizon, *, needed: bool, fading: bool) -> Fate:
    """What a sweep does with a key.

    Parameters
    ----------
    needed:
        A live backup names it.
    fading:
        A backup names it whose manifest was hidden so recently that somebody may still be reading it.
    """
    latest = stored.latest
    if latest is None:
        return "keep"
    if not latest.marker:
        return "keep" if needed or latest.modified >= horizon.mark_before else "mark"
    if latest.modified >= horizon.purge_before:
        return "wait"
    if needed:
        return "unmark" if stored.bodies else "keep"
    return "wait" if fading else "purge"


@dataclass(frozen=True)
class Backup:
    """A backup by the version of its manifest, so that it can be read even when it gets hidden meanwhile."""

    backup_id: str
    version: str
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """The backups of a database.

    Attributes
    ----------
    live:
        Whose manifest is visible, oldest first.
    fading:
        Whose manifest was hidden, but not so long ago that nobody can be reading the backup any more.
    damage:
        Notes of runs that met damaged chunks, their backups having come to exist or not.
    hidden:
        Whose manifest is hidden, however long ago.
    """

    live: tuple[Backup, ...]
    fading: tuple[Backup, ...]
    damage: tuple[Note, ...] = ()
    hidden: tuple[Backup, ...] = ()

    def without(self, doomed: set[str]) -> Inventory:
        """The inventory once the manifests of these backups are hidden."""
        return replace(
            self,
            live=tuple(backup for backup in self.live if backup.backup_id not in doomed),
            fading=(*self.fading, *(backup for backup in self.live if backup.backup_id in doomed)),
        )

    def with_live(self, shown: Iterable[Backup]) -> Inventory:
        """The inventory once the manifests of these backups are visible again."""
        return replace(self, live=tuple(sorted((*self.live, *shown), key=lambda backup: backup.backup_id)))


def take_inventory(store: ObjectStore, layout: Layout, horizon: Horizon) -> Inventory:
    """List a database's backups and their notes.

    Raises
    ------
    StoreUnavailableError
    """
    found: dict[str, Backup] = {}
    hidden: set[str] = set()
    fading: list[Backup] = []
    damage: list[Note] = []
    for stored in stored_keys(store.versions(layout.backups)):
        latest, backup_id = stored.latest, backup_of_manifest(stored.key)
        if latest is None:
            continue
        if backup_id is None:
            note = None if latest.marker else parse_note(layout, stored.key)
            if note is not None and note.what == "damage":
                damage.append(note)
            elif note is not None and note.backup_id in found:  # notes follow their manifest in order
                backup = found[note.backup_id]
                found[note.backup_id] = replace(backup, notes=(*backup.notes, note))
            continue
        if stored.bodies:
            found[backup_id] = Backup(backup_id, stored.bodies[0].version)  # the newest
        if latest.marker:
            hidden.add(backup_id)
        if any(marker.modified >= horizon.purge_before for marker in stored.markers):
            # A deleted backup may have been made again under its id: what it was before fades all the same.
            bodies = (body for body in stored.bodies if body is not latest)
            fading += (Backup(backup_id, body.version) for body in bodies)
    return Inventory(
        tuple(backup for name, backup in found.items() if name not in hidden),
        tuple(fading),
        tuple(damage),
        tuple(backup for name, backup in found.items() if name in hidden),
    )
