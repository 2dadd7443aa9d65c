"""Chunks that several relations share, read once for all slices that are wanted one after the other."""

from __future__ import annotations

import threading
from dataclasses import replace

from coffre.vault.chunks import unpack_chunk
from coffre.vault.locate import locate_chunk
from coffre.vault.objects import ChunkReader
from coffre.vault.parts import Chunk, rows_of

SHARED_BYTES = 16 << 20
"""A chunk with more text is not held: whoever wants a slice of it streams it."""


class SharedChunks:
    """Holds the text of the last shared chunk; threads may read at the same time."""

    def __init__(self, reader: ChunkReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._held: Chunk | None = None
        self._version: str | None = None
        self._text = b""

    @staticmethod
    def can_hold(chunk: Chunk) -> bool:
        """Whether the chunk is a slice of one that fits."""
        return 0 < chunk.whole <= SHARED_BYTES

    def read(self, chunk: Chunk) -> tuple[str | None, bytes]:
        """A slice, and which version of the object it is from: None for the visible one.

        Raises
        ------
        ObjectMissingError, ObjectCorruptError, StoreUnavailableError
        """
        shared = replace(chunk, rows=0, bytes=0, at=0)  # what all of its slices have in common
        with self._lock:
            if self._held != shared:
                self._held = None
                self._version, body = locate_chunk(self._reader, chunk)
                with body:
                    self._text = unpack_chunk(chunk, body.read(), self._reader.seal)
                self._held = shared
            return self._version, rows_of(chunk, self._text)
