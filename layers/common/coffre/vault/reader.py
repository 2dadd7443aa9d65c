"""Reading a vault: backups, manifests, parts, and objects behind delete markers.

Rotation hides objects behind delete markers before it deletes them, and a key may have several versions.
What is read is therefore found by its content: the visible version if it is right, else any that is.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast, runtime_checkable

import zstandard

from coffre.errors import (
    CoffreError,
    ManifestInvalidError,
    ObjectCorruptError,
    ObjectMissingError,
    UnknownBackupError,
)
from coffre.ids import BACKUP_ID
from coffre.vault import manifest as manifests
from coffre.vault.chunks import open_chunk
from coffre.vault.layout import Layout, backup_of_manifest
from coffre.vault.manifest import Manifest, PartFile, StoredFile
from coffre.vault.objects import ChunkReader, Version
from coffre.vault.parts import MAX_LINE, Chunk, Record, Relation, read_records
from coffre.vault.sealing import MAGIC, Seal, is_sealed, is_whole

if TYPE_CHECKING:
    from coffre.vault.store import ObjectStore  # a proof must not pay for the client that it doesn't use

BLOCK = 1 << 18
SMALL_BLOCK = 1 << 14
"""Stored bytes that are unpacked at a time: a hostile frame makes a thousandfold of them at most."""

IN_MEMORY = 16 << 20
"""An object that is larger is spooled to scratch space."""

MAX_WINDOW = 1 << 23
"""Memory that a zstd frame may ask for: parts are written at level 3, which asks for 2 MiB."""


@runtime_checkable
class VersionedReader(Protocol):
    """A `ChunkReader` that can also look behind delete markers."""

    def get(self, key: str, version: str | None = None) -> BinaryIO:
        """The object's bytes as a stream."""

    @property
    def seal(self) -> Seal:
        """What opens them."""

    def versions(self, prefix: str) -> Iterator[Version]:
        """All versions and delete markers below a prefix."""


def list_backups(store: ObjectStore, database: str) -> Iterator[str]:
    """The ids of the database's backups, oldest first.  An id without a manifest isn't a backup."""
    for item in store.objects(Layout(database).backups):
        backup_id = backup_of_manifest(item.key)
        if backup_id is not None:
            yield backup_id


def newest_backup(store: ObjectStore, database: str) -> str | None:
    """The id of the newest backup; None if there is none.

    A backup may have a thousand files, so they aren't listed for that.
    """
    layout = Layout(database)
    names = sorted((folder.rstrip("/") for folder in store.folders(layout.backups)), reverse=True)
    ids = (name for name in names if BACKUP_ID.match(name))
    return next((one for one in ids if store.head(layout.manifest(one)) is not None), None)


def load_manifest(
    store: ObjectStore, database: str, backup_id: str, *, version: str | None = None
) -> tuple[Manifest, str]:
    """A backup's manifest and its root hash.

    Parameters
    ----------
    backup_id:
        An id, or ``latest``.
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
        raise UnknownBackupError(f"{database} has no backup yet")
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


def fetch(store: ChunkReader, key: str, *, size: int, sha256: str) -> BinaryIO:
    """An object whose content is right, read whole and checked before the first byte is returned.

    If the visible version is missing or wrong and ``store`` knows versions, the others are looked through.

    Parameters
    ----------
    size, sha256:
        Bytes of the object and their SHA-256 in hex, as the manifest or a part recorded them.

    Returns
    -------
    BinaryIO
        A file at its start, in memory or in scratch space; the caller closes it.

    Raises
    ------
    ObjectMissingError, ObjectCorruptError, StoreUnavailableError
    """
    return locate(store, key, size=size, sha256=sha256)[1]


def locate(store: ChunkReader, key: str, *, size: int, sha256: str) -> tuple[str | None, BinaryIO]:
    """As `fetch`, and which version it was: None for the visible one."""
    try:
        return None, _fetch_version(store, key, None, size, sha256)
    except (ObjectMissingError, ObjectCorruptError):
        found = _fetch_hidden(store, key, size, sha256) if isinstance(store, VersionedReader) else None
        if found is None:
            raise
        return found


def locate_chunk(store: ChunkReader, chunk: Chunk) -> tuple[str | None, BinaryIO]:
    """A chunk's stored bytes, checked, and which version they are: None for the visible one.

    A chunk that was stored afresh may be compressed otherwise than the one that was recorded; what counts in
    the end is that it unpacks to the rows that its id names.

    Raises
    ------
    ObjectMissingError, ObjectCorruptError, StoreUnavailableError
    """
    try:
        return locate(store, chunk.key, size=chunk.stored, sha256=chunk.sha256)
    except (ObjectMissingError, ObjectCorruptError):
        versions = store.versions(chunk.key) if isinstance(store, VersionedReader) else ()
        hidden = (found.version for found in versions if found.key == chunk.key and not found.marker)
        for version in (None, *hidden):
            body = _fetch_by_content(store, chunk, version)
            if body is not None:
                return version, body
        raise


def is_sound_chunk(store: ChunkReader, key: str, version: str | None = None) -> bool:
    """Whether an object under a chunk's key unpacks to what the key says; False if there is none.

    Of a sealed one only its own checksum is looked at: that needs no key.

    Raises
    ------
    StoreUnavailableError
    """
    try:
        with store.get(key, version) as body:
            check_chunk(body, key)
    except (ObjectCorruptError, ObjectMissingError):
        return False
    return True


def check_chunk(body: BinaryIO, key: str) -> None:
    """Read an object under a chunk's key whole, without any other knowledge of it.

    Raises
    ------
    ObjectCorruptError
        If it isn't one zstd frame that unpacks to what the key says.  A sealed one is compared with the
        checksum in it.
    StoreUnavailableError
    """
    start = body.read(len(MAGIC))
    if is_sealed(start):
        if not is_whole(start, body, key):
            raise ObjectCorruptError(f"chunk {key} was sealed, and isn't what was stored any more")
        return
    digest, plain, block = hashlib.sha256(), zstandard.ZstdDecompressor().decompressobj(), start
    try:
        while block and not plain.eof:
            digest.update(plain.decompress(block))
            block = body.read(SMALL_BLOCK)
    except zstandard.ZstdError as error:
        raise ObjectCorruptError(f"chunk {key} is not a zstd frame") from error
    if not plain.eof or plain.unused_data or block:
        raise ObjectCorruptError(f"chunk {key} is not one whole zstd frame")
    if digest.hexdigest() != key.rsplit("/", 1)[-1]:
        raise ObjectCorruptError(f"chunk {key} has hash {digest.hexdigest()}, not the one in its key")


def fetch_file(reader: ChunkReader, file: StoredFile, path: Path) -> Path:
    """A file of a backup, checked and opened, in scratch space; ``path`` itself.

    Raises
    ------
    ObjectMissingError, ObjectCorruptError, StoreUnavailableError
    """
    with fetch(reader, file.key, size=file.size, sha256=file.sha256) as body, path.open("wb") as out:
        shutil.copyfileobj(reader.seal.opened(body, file.key), out)
    return path


def _fetch_hidden(store: VersionedReader, key: str, size: int, sha256: str) -> tuple[str, BinaryIO] | None:
    for candidate in store.versions(key):
        if candidate.key != key or candidate.marker or candidate.size != size:
            continue
        try:
            return candidate.version, _fetch_version(store, key, candidate.version, size, sha256)
        except (ObjectMissingError, ObjectCorruptError):
            continue
    return None


def _fetch_by_content(store: ChunkReader, chunk: Chunk, version: str | None) -> BinaryIO | None:
    """A version's stored bytes if they unpack to the chunk's rows, whatever was recorded of them."""
    spool = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - the caller closes it
    try:
        with store.get(chunk.key, version) as body:
            # Neither compression nor a seal adds much; anything much longer isn't the chunk.
            while spool.tell() <= chunk.bytes + BLOCK and (block := body.read(BLOCK)):
                spool.write(block)
        spool.seek(0)
        for _ in open_chunk(chunk, cast("BinaryIO", spool), store.seal, close=False):
            pass
    except (ObjectCorruptError, ObjectMissingError):
        spool.close()
        return None
    spool.seek(0)
    return spool  # type: ignore[return-value]  # as in `_fetch_version`


def _fetch_version(store: ChunkReader, key: str, version: str | None, size: int, sha256: str) -> BinaryIO:
    spool = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - the caller closes it
    digest, length = hashlib.sha256(), 0
    try:
        with store.get(key, version) as body:
            while length <= size and (block := body.read(BLOCK)):
                length += len(block)
                digest.update(block)
                spool.write(block)
        if length != size:
            raise ObjectCorruptError(f"object {key} has {length} bytes or more, expected {size}")
        if digest.hexdigest() != sha256:
            raise ObjectCorruptError(f"object {key} has SHA-256 {digest.hexdigest()}, expected {sha256}")
    except CoffreError:
        spool.close()
        raise
    spool.seek(0)
    return spool  # type: ignore[return-value]  # typeshed: SpooledTemporaryFile isn't a BinaryIO, but acts as one


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
