"""References: the sorted chunk ids of a backup, so that a sweep reads 32 bytes a chunk instead of its parts.

A file holds at most `MAX_IDS` ids of 32 bytes, sorted, each once, and covers whole first bytes; only where
more than that begin with the same byte do several files, in order, share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby, islice
from operator import ge
from struct import iter_unpack
from typing import TYPE_CHECKING

from coffre.errors import ObjectCorruptError, ObjectExistsError
from coffre.vault.locate import fetch
from coffre.vault.manifest import Manifest, RefsFile
from coffre.vault.objects import ChunkReader

if TYPE_CHECKING:
    from coffre.vault.store import ObjectStore  # a proof must not pay for the client that it doesn't use

ID_BYTES = 32
MAX_IDS = 65_536


def write_refs(store: ObjectStore, prefix: str, ids: Iterable[bytes]) -> list[RefsFile]:
    """Write the references of a backup.

    Parameters
    ----------
    prefix:
        The attempt's prefix; see `coffre.vault.layout.Layout.attempt`.
    ids:
        Chunk ids of 32 bytes, strictly ascending.

    Returns
    -------
    list of RefsFile
        For the manifest, in order.

    Raises
    ------
    ValueError
        If the ids don't ascend.
    StoreUnavailableError
    """
    files = []
    for body in _split(_ascending(ids)):
        digest = hashlib.sha256(body).hexdigest()
        first, last = body[:1].hex(), body[-ID_BYTES:][:1].hex()
        key = f"{prefix}refs/{first}{last}-{digest}"
        with suppress(ObjectExistsError):  # a commit that is done again: the name says what is in it
            store.put_new(key, body, size=len(body), sha256=digest)
        files.append(
            RefsFile(
                key=key, size=len(body), sha256=digest, first=first, last=last, chunks=len(body) // ID_BYTES
            )
        )
    return files


def _ascending(ids: Iterable[bytes]) -> Iterator[bytes]:
    before = b""
    for chunk_id in ids:
        if len(chunk_id) != ID_BYTES or chunk_id <= before:
            raise ValueError("chunk ids must be 32 bytes each and ascend")
        before = chunk_id
        yield chunk_id


def _split(ids: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for _, group in groupby(ids, key=lambda chunk_id: chunk_id[0]):
        for block in _blocks(group):
            if held and len(held) + len(block) > MAX_IDS * ID_BYTES:
                yield held
                held = b""
            held += block
    if held:
        yield held


def _blocks(ids: Iterable[bytes]) -> Iterator[bytes]:
    """The ids of one first byte, as one block if a file can hold them."""
    block = bytearray()
    for chunk_id in ids:
        block += chunk_id
        if len(block) == MAX_IDS * ID_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def read_ids(store: ChunkReader, manifest: Manifest, *, first: int = 0, last: int = 255) -> Iterator[bytes]:
    """The chunk ids of a backup, ascending; no more than one file is held.

    Parameters
    ----------
    first, last:
        Leave out files in which no id begins with a byte between these.

    Raises
    ------
    ObjectMissingError, ObjectCorruptError, StoreUnavailableError
        Each file is checked against the manifest before its first id is returned.
    """
    for ids in read_files(store, manifest.refs, first=first, last=last):
        yield from ids


def read_files(
    store: ChunkReader, files: Iterable[RefsFile], *, first: int = 0, last: int = 255
) -> Iterator[list[bytes]]:
    """As `read_ids`, all ids of a file at once."""
    before = b""
    for file in files:
        if int(file.last, 16) < first or int(file.first, 16) > last:
            continue
        ids = _read_file(store, file)
        if ids and ids[0] <= before:
            raise ObjectCorruptError(f"references {file.key} don't follow the file before them")
        before = ids[-1] if ids else before
        yield ids


def _read_file(store: ChunkReader, file: RefsFile) -> list[bytes]:
    if file.size != file.chunks * ID_BYTES or file.chunks > MAX_IDS:
        raise ObjectCorruptError(f"references {file.key} can't hold {file.chunks} ids in {file.size} bytes")
    with fetch(store, file.key, size=file.size, sha256=file.sha256) as body:
        content = body.read()
    # A sweep reads hundreds of millions of ids: nothing here is a step of Python's own for each.
    ids = [chunk_id for (chunk_id,) in iter_unpack(f"{ID_BYTES}s", content)]
    ascending = not any(map(ge, ids, islice(ids, 1, None)))
    in_range = not ids or int(file.first, 16) <= ids[0][0] <= ids[-1][0] <= int(file.last, 16)
    if not ascending or not in_range:
        raise ObjectCorruptError(f"references {file.key} are not sorted, or not in their range")
    return ids
