"""Puts damaged chunks aside, so that the next backup stores their rows afresh.

Who finds damage can't hide it, and who hides it doesn't believe it unread: a verification names damaged
chunks in its evidence, a backup that meets one in a note, and a rotation reads each of them again.  First
every proof that rests on such a chunk is put in doubt, then the chunk gets a delete marker, so a rotation
that is cut short is just repeated.  The damaged version stays below: readers look for the one whose content
is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from coffre.ids import stamp
from coffre.results import VerifyResult
from coffre.rotate.inventory import Backup
from coffre.vault.evidence import damaged_chunks, evidence_time
from coffre.vault.layout import Layout
from coffre.vault.locate import is_sound_chunk
from coffre.vault.notes import MAX_CHUNKS, Chunks, Note, read_chunks, time_after, write_note
from coffre.vault.reader import load_manifest
from coffre.vault.refs import read_ids
from coffre.vault.store import ObjectStore

CLOCKS = timedelta(minutes=1)
"""How far the store's clock and a function's may be apart."""


class Suspects:
    """Reads the chunks again that somebody called damaged, each once, and `MAX_CHUNKS` of them at most.

    Parameters
    ----------
    has_time:
        Asked before each look at a chunk.  What there is no time for is left to the next rotation, which has
        less to read: what was found damaged is put aside by then.

    Attributes
    ----------
    left_out:
        Whether chunks were not looked at.
    """

    def __init__(self, store: ObjectStore, layout: Layout, has_time: Callable[[], bool]) -> None:
        self.left_out = False
        self._store = store
        self._layout = layout
        self._has_time = has_time
        self._sound: dict[str, bool] = {}
        self._damaged = set[bytes]()

    @property
    def damaged(self) -> frozenset[bytes]:
        """Those that are visible and aren't what their key says.  The next rotation finds what is left."""
        return frozenset(self._damaged)

    def read(self, identifier: str, accused: str) -> bool:
        """Whether a chunk is there and right by now; one that isn't looked at counts as wrong.

        Parameters
        ----------
        accused:
            When it was called damaged.  What was written clearly later isn't read: the store has checked it.

        Raises
        ------
        StoreUnavailableError
        """
        if identifier in self._sound:
            return self._sound[identifier]
        if not self._has_time():
            self.left_out = True
            return False
        key = self._layout.chunk(identifier)
        seen = self._store.head(key)
        if seen is None or stamp(seen.modified - CLOCKS) > accused:
            return seen is not None
        if len(self._sound) == MAX_CHUNKS:
            self.left_out = True
            return False
        self._sound[identifier] = is_sound_chunk(self._store, key)
        if not self._sound[identifier]:
            self._damaged.add(bytes.fromhex(identifier))
        return self._sound[identifier]

    def read_notes(self, notes: Iterable[Note]) -> None:
        """Read what runs met; see `coffre.backup.capture`.

        Raises
        ------
        StoreUnavailableError
        """
        for note in notes:
            for identifier in read_chunks(self._store, note):
                self.read(identifier, note.time)

    def is_healed(self, evidence: VerifyResult) -> bool:
        """Whether a verification failed for damaged chunks alone, and all of them are right by now.

        Raises
        ------
        StoreUnavailableError
        """
        named = damaged_chunks(evidence)
        accused = evidence_time(evidence.evidence)
        sound = [self.read(identifier, accused) for identifier in named]
        return len(named) == len(evidence.reasons) > 0 and all(sound)


def users_of(
    store: ObjectStore, layout: Layout, damaged: frozenset[bytes], backups: Sequence[Backup]
) -> dict[str, list[str]]:
    """The backups that name damaged chunks, with the ids of those.

    Raises
    ------
    ManifestInvalidError, FormatUnsupportedError, ObjectMissingError, ObjectCorruptError
        If the references of one of them can't be read.
    StoreUnavailableError
    """
    found = dict[str, list[str]]()
    for backup in backups if damaged else ():
        manifest, _ = load_manifest(store, layout.database, backup.backup_id, version=backup.version)
        used = [identifier.hex() for identifier in read_ids(store, manifest) if identifier in damaged]
        if used:
            found[backup.backup_id] = used
    return found


def put_aside(
    store: ObjectStore,
    layout: Layout,
    damaged: frozenset[bytes],
    doubtful: dict[str, list[str]],
    proofs: Mapping[str, VerifyResult],
    now: datetime,
) -> None:
    """Note the doubt on each of these backups, then hide the chunks.

    Parameters
    ----------
    proofs:
        Of these backups.  A doubt counts after the proof that it takes, which may have been written since the
        rotation started, or by a clock that is ahead.

    Raises
    ------
    StoreUnavailableError
    """
    for backup_id, chunks in doubtful.items():
        written = time_after([evidence_time(proofs[backup_id].evidence)], now)
        write_note(store, layout, backup_id, "doubt", Chunks(chunks=chunks[:MAX_CHUNKS]), written)
    for identifier in sorted(damaged):
        store.mark_deleted(layout.chunk(identifier.hex()))
