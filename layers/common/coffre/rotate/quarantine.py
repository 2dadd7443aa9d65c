"""Puts damaged chunks aside, so that the next backup stores their rows afresh.

Who finds damage can't hide it, and who hides it doesn't believe it unread: a verification names damaged
chunks in its evidence, a backup that meets one in a note, and a rotation reads each of them again.  First
every proof that rests on such a chunk is put in doubt, then the chunk gets a delete marker, so a rotation
that is cut short is just repeated.  The damaged version stays below: readers look for the one whose content
is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from coffre.rotate.inventory import Backup
from coffre.vault.layout import Layout
from coffre.vault.notes import MAX_CHUNKS, Chunks, Note, read_chunks, write_note
from coffre.vault.reader import is_sound_chunk, load_manifest
from coffre.vault.refs import read_ids
from coffre.vault.store import ObjectStore


def find_damaged(
    store: ObjectStore,
    layout: Layout,
    named: Iterable[str],
    notes: Iterable[Note],
    check: Callable[[], None],
) -> frozenset[bytes]:
    """The visible chunks whose content isn't what their key says, of those that somebody named.

    Parameters
    ----------
    named:
        Ids that evidence names.
    notes:
        Of runs that met damage.
    check:
        Called before each chunk is read; raises to stop.

    Returns
    -------
    frozenset of bytes
        At most `MAX_CHUNKS`; the next rotation finds the rest.

    Raises
    ------
    StoreUnavailableError
    """
    ids = {*named, *(chunk for note in notes for chunk in read_chunks(store, note))}
    found = set[bytes]()
    for identifier in sorted(ids):
        check()
        if len(found) == MAX_CHUNKS:
            break
        key = layout.chunk(identifier)
        if store.head(key) is not None and not is_sound_chunk(store, key):
            found.add(bytes.fromhex(identifier))
    return frozenset(found)


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
    now: datetime,
) -> None:
    """Note the doubt on each of these backups, then hide the chunks.

    Raises
    ------
    StoreUnavailableError
    """
    for backup_id, chunks in doubtful.items():
        write_note(store, layout, backup_id, "doubt", Chunks(chunks=chunks[:MAX_CHUNKS]), now)
    for identifier in sorted(damaged):
        store.mark_deleted(layout.chunk(identifier.hex()))
