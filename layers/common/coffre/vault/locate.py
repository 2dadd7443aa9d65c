"""Objects of a vault, found by their content.

Rotation hides objects behind delete markers before it deletes them, and a key may have several versions.
What is read is therefore the visible version if it is right, else any that is.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, Protocol, cast, runtime_checkable

import zstandard

from coffre.errors import CoffreError, ObjectCorruptError, ObjectMissingError
from coffre.vault.chunks import open_chunk, unpack_chunk
from coffre.vault.objects import ChunkReader, Version
from coffre.vault.parts import Chunk, rows_of
from coffre.vault.sealing import MAGIC, Seal, is_sealed, is_whole

BLOCK = 1 << 18
SMALL_BLOCK = 1 << 14
"""Stored bytes that are unpacked at a time: a hostile frame makes a thousandfold of them at most."""

IN_MEMORY = 16 << 20
"""An object that is larger is spooled to scratch space."""


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


def read_chunk(store: ChunkReader, chunk: Chunk) -> bytes:
    """The text of a chunk that fits into memory, checked; looked for as `locate_chunk` does.

    What it unpacks to is compared with its id.  Its stored bytes needn't be hashed as well, unless that
    fails.

    Raises
    ------
    ObjectMissingError, ObjectCorruptError, StoreUnavailableError
    """
    try:
        with store.get(chunk.key) as body:
            stored = body.read(chunk.stored + 1)
        return rows_of(chunk, unpack_chunk(chunk, stored, store.seal))
    except (ObjectMissingError, ObjectCorruptError):
        with locate_chunk(store, chunk)[1] as body:
            stored = body.read()
        return rows_of(chunk, unpack_chunk(chunk, stored, store.seal))


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
            while spool.tell() <= chunk.plain + BLOCK and (block := body.read(BLOCK)):
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
