"""Reading a vault: backups, manifests, parts and files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import zstandard

from coffre.errors import ManifestInvalidError, ObjectCorruptError, ObjectMissingError, UnknownBackupError
from coffre.ids import BACKUP_ID
from coffre.vault import manifest as manifests
from coffre.vault.layout import Layout, backup_of_manifest
from coffre.vault.locate import BLOCK, fetch
from coffre.vault.manifest import Manifest, PartFile, StoredFile
from coffre.vault.objects import ChunkReader
from coffre.vault.parts import MAX_LINE, Chunk, Record, Relation, read_records

if TYPE_CHECKING:
    from coffre.vault.store import ObjectStore  # a proof must not pay for the client that it doesn't use

MAX_WINDOW = 1 << 23
"""Memory that a zstd frame may ask for: parts are written at level 3, which asks for 2 MiB."""


def list_backups(store: ObjectStore, database: str) -> Iterator[str]:
    """The ids of the database's backups, oldest first.  An id without a manifest isn't a backup."""
    for item in store.objects(Layout(database).backups):
        backup_id = backup_of_manifest(item.key)
        if backup_id is not None:
            yield backup_id


def newest_backup(store: ObjectStore, database: str) -> str | None:
    """The id of the newest backup, a safety backup too; None if there is none."""
    return next(_newest_first(store, database), None)


def meant_backup(store: ObjectStore, database: str, reference: str) -> str:
    """The id of the backup that somebody means: ``latest`` is the newest one that isn't a safety backup.

    A safety backup holds what somebody wanted to be rid of: it must be named, unless there is nothing else.

    Raises
    ------
    UnknownBackupError
        If ``latest`` is asked for and there is none.  Whether an id exists isn't looked at.
    StoreUnavailableError
    """
    if reference != "latest":
        return reference
    safety = None
    for backup_id in _newest_first(store, database):
        if "-safety-" not in backup_id:
            return backup_id
        safety = safety or backup_id
    if safety is None:
        raise _none_yet(database)
    return safety


def _newest_first(store: ObjectStore, database: str) -> Iterator[str]:
    """The ids of the backups.  One may have a thousand files, so they aren't listed for that."""
    layout = Layout(database)
    names = sorted((folder.rstrip("/") for folder in store.folders(layout.backups)), reverse=True)
    ids = (name for name in names if BACKUP_ID.match(name))
    return (one for one in ids if store.head(layout.manifest(one)) is not None)


def _none_yet(database: str) -> UnknownBackupError:
    return UnknownBackupError(
        f"{database} has no backup yet", f"`coffre backup {database} --wait` takes one."
    )


def load_manifest(
    store: ObjectStore, database: str, backup_id: str, *, version: str | None = None
) -> tuple[Manifest, str]:
    """A backup's manifest and its root hash.

    Parameters
    ----------
    backup_id:
        An id, or ``latest``: the newest backup, which may be a safety backup; see `meant_backup`.
    version:
        A version of the manifest that needn't be visible.

    Raises
    ------
    UnknownBackupError
        If there is no such backup.
    ManifestInvalidError, FormatUnsupportedError, StoreUnavailableError
    """
    found = newest_backup(store, database) if backup_id == "latest" else backup_id
    if found is None:
        raise _none_yet(database)
    if not BACKUP_ID.match(found):
        raise UnknownBackupError(f"{found!r} is not the id of a backup")
    key = Layout(database).manifest(found)
    try:
        body = store.read(key, limit=manifests.MAX_BYTES, version=version)
    except ObjectMissingError as error:
        raise UnknownBackupError(f"{database} has no backup {found}") from error
    except ObjectCorruptError as error:
        raise ManifestInvalidError(f"{key} has more bytes than a manifest may have") from error
    return manifests.decode(body, key=key), manifests.root_hash(body)


def fetch_file(reader: ChunkReader, file: StoredFile, path: Path) -> Path:
    """A file of a backup, checked and opened, in scratch space; ``path`` itself.

    Raises
    ------
    ObjectMissingError, ObjectCorruptError, StoreUnavailableError
    """
    with fetch(reader, file.key, size=file.size, sha256=file.sha256) as body, path.open("wb") as out:
        shutil.copyfileobj(reader.seal.opened(body, file.key), out)
    return path


def read_part(store: ChunkReader, part: PartFile) -> Iterator[Record]:
    """The records of a part, whose bytes are checked before the first record is returned.

    Raises
    ------
    ObjectMissingError, ObjectCorruptError, StoreUnavailableError
    ManifestInvalidError
        If it unpacks to more or less than the manifest says, a line is too long or isn't a record.
    """
    relations = chunks = 0
    with fetch(store, part.key, size=part.size, sha256=part.sha256) as body:
        for record in read_records(_lines(store.seal.opened(body, part.key), part), key=part.key):
            relations += isinstance(record, Relation)
            chunks += isinstance(record, Chunk)
            yield record
    if (relations, chunks) != (part.relations, part.chunks):
        raise ManifestInvalidError(
            f"part {part.key} holds {relations} relations and {chunks} chunks, "
            f"expected {part.relations} and {part.chunks}"
        )


def read_text(store: ChunkReader, part: PartFile) -> Iterator[bytes]:
    """The lines of a part in blocks, without a look at what they say.

    Raises
    ------
    ObjectMissingError, ObjectCorruptError, StoreUnavailableError
    ManifestInvalidError
        If it unpacks to more or less than the manifest says.
    """
    with fetch(store, part.key, size=part.size, sha256=part.sha256) as body:
        yield from _unpacked(store.seal.opened(body, part.key), part)


def _lines(body: BinaryIO, part: PartFile) -> Iterator[bytes]:
    held = b""
    for block in _unpacked(body, part):
        lines = (held + block).split(b"\n")
        held = lines.pop()
        if len(held) > MAX_LINE:
            raise ManifestInvalidError(f"part {part.key} has a line of more than {MAX_LINE} bytes")
        yield from lines
    if held:
        raise ManifestInvalidError(f"part {part.key} doesn't end with a whole line")


def _unpacked(body: BinaryIO, part: PartFile) -> Iterator[bytes]:
    length = 0
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    try:
        with decompressor.stream_reader(body, read_across_frames=False, closefd=False) as reader:
            while length <= part.bytes and (block := reader.read(BLOCK)):
                length += len(block)
                yield block
    except zstandard.ZstdError as error:
        raise ManifestInvalidError(f"part {part.key} is not a zstd frame") from error
    if length != part.bytes:
        raise ManifestInvalidError(
            f"part {part.key} unpacks to {length} bytes or more, expected {part.bytes}"
        )
