"""Puts chunks into the vault, each at most once.

Compression runs in the thread that brings the chunk; the request itself runs in a few threads, because a
store's answer takes tens of milliseconds and the next rows are there already.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO, cast

from coffre.errors import ObjectExistsError, ObjectMissingError
from coffre.vault.chunks import PlainChunk, open_chunk
from coffre.vault.known import KnownChunks
from coffre.vault.layout import Layout
from coffre.vault.parts import Chunk
from coffre.vault.retention import extend
from coffre.vault.sealing import seal_body
from coffre.vault.store import ObjectStore

THREADS = 8


@dataclass(frozen=True)
class Stored:
    """A chunk that is in the vault; ``new`` if this upload put it there."""

    chunk: Chunk
    new: bool


class ChunkUploader:
    """Stores chunks of one database.

    Parameters
    ----------
    store:
        With the backup's seal, and its lock, if it has one: a chunk that is used again is locked as long as a
        new one.
    known:
        What the last backup recorded; only such chunks are used again without being read.
    """

    def __init__(self, store: ObjectStore, layout: Layout, known: KnownChunks) -> None:
        self._store = store
        self._layout = layout
        self._known = known
        self._threads = ThreadPoolExecutor(THREADS, "upload")

    def submit(self, plain: PlainChunk) -> Future[Stored]:
        """Start to store a chunk; the future holds its record, or what went wrong."""
        recorded = self._known.find(self.chunk_id(plain))
        if recorded is not None:
            plain.keep()
            return self._threads.submit(self._reuse, plain, *recorded)
        return self._threads.submit(self._put, plain, *self._packed(plain))

    def chunk_id(self, plain: PlainChunk) -> str:
        """The id of a chunk under this backup's seal."""
        return self._store.seal.chunk_id(plain.id)

    def close(self) -> None:
        """Drop what has not been started, and wait for the rest."""
        self._threads.shutdown(cancel_futures=True)

    def _reuse(self, plain: PlainChunk, stored: int, sha256: str) -> Stored:
        """Use an existing chunk if the store reports exactly what was recorded."""
        key = self._layout.chunk(self.chunk_id(plain))
        seen = self._store.head(key)
        if seen is not None and (seen.size, seen.sha256) == (stored, sha256):
            if self._store.lock is not None:
                extend(self._store, seen, self._store.lock)
            return Stored(self._record(plain, stored, sha256), new=False)
        return self._put(plain, *self._packed(plain))

    def _packed(self, plain: PlainChunk) -> tuple[BinaryIO, int, str]:
        """The bytes to store, their size and their SHA-256."""
        key = self._layout.chunk(self.chunk_id(plain))
        return seal_body(self._store.seal, *plain.compressed(), key=key, scratch=plain.scratch)

    def _put(self, plain: PlainChunk, body: BinaryIO, stored: int, sha256: str) -> Stored:
        key = self._layout.chunk(self.chunk_id(plain))
        with closing(body):
            content = body.getvalue() if isinstance(body, io.BytesIO) else body
            try:
                self._store.put_new(key, content, size=stored, sha256=sha256)
            except ObjectExistsError:
                try:
                    return self._adopt(plain)
                except ObjectMissingError:  # a rotation hid it at this very moment
                    self._store.put_new(key, content, size=stored, sha256=sha256)
        return Stored(self._record(plain, stored, sha256), new=True)

    def _adopt(self, plain: PlainChunk) -> Stored:
        """Use an object that nothing has recorded: only after reading all of it.

        Raises
        ------
        ObjectCorruptError
            If it isn't what its key says.
        ObjectMissingError
            If it was hidden meanwhile.
        """
        expected = self._record(plain, 0, "")
        digest = hashlib.sha256()
        with self._store.get(expected.key) as body:
            tee = _Counted(body, digest)
            for _ in open_chunk(expected, cast("BinaryIO", tee), self._store.seal, close=False):
                pass
            tee.read_rest()
        if self._store.lock is not None:
            seen = self._store.head(expected.key)
            if seen is None:
                raise ObjectMissingError(f"object {expected.key} was hidden while it was read")
            extend(self._store, seen, self._store.lock)
        return Stored(self._record(plain, tee.size, digest.hexdigest()), new=False)

    def _record(self, plain: PlainChunk, stored: int, sha256: str) -> Chunk:
        identifier, seal = self.chunk_id(plain), self._store.seal
        key = self._layout.chunk(identifier)
        return Chunk(identifier, key, seal.encoding, plain.rows, plain.size, stored, sha256)


class _Counted(io.BufferedIOBase):
    """Hashes and counts the stored bytes while they are unpacked."""

    def __init__(self, body: BinaryIO, digest: hashlib._Hash) -> None:
        self._body = body
        self._digest = digest
        self.size = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        block = self._body.read(-1 if size is None else size)
        self._digest.update(block)
        self.size += len(block)
        return block

    def read_rest(self) -> None:
        for _ in self._blocks():
            pass

    def _blocks(self) -> Iterator[bytes]:
        while block := self.read(1 << 16):
            yield block
