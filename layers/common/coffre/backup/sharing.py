"""Chunks on their way to the vault, and the rows in them: all of a chunk's, or one relation's slice of it.

A request for each of thousands of small tables costs more than their rows, so several share a chunk.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from coffre.vault.chunks import PlainChunk
from coffre.vault.parts import Chunk
from coffre.vault.uploader import ChunkUploader, Stored

SHARING_BYTES = 1 << 17
"""A relation with more text gets chunks of its own, however small it looked on disk."""


@dataclass
class Upload:
    """A chunk that is stored, or will be: ``stored`` comes with its text."""

    chunk_id: str = ""
    stored: Future[Stored] | None = None

    def start(self, plain: PlainChunk, uploader: ChunkUploader) -> None:
        """Start to store the chunk."""
        self.chunk_id = uploader.chunk_id(plain)
        self.stored = uploader.submit(plain)


@dataclass(frozen=True)
class Slice:
    """Rows of one relation, which are ``size`` bytes of a chunk from ``at`` on."""

    upload: Upload
    rows: int
    size: int
    at: int = 0

    @property
    def is_first(self) -> bool:
        """Whether the chunk begins with it: a shared chunk is counted once."""
        return self.at == 0

    def record(self, chunk: Chunk) -> Chunk:
        """Its record, made from that of the whole chunk."""
        if self.size == chunk.bytes:
            return chunk
        return replace(chunk, rows=self.rows, bytes=self.size, at=self.at, whole=chunk.bytes)


class SharedText:
    """The text of a chunk that several relations share."""

    def __init__(self) -> None:
        self._upload = Upload()
        self._text = bytearray()
        self._rows = 0

    def take(self, plain: PlainChunk) -> Slice:
        """Add the rows of a small chunk."""
        at = len(self._text)
        for block in plain.blocks():
            self._text += block
        self._rows += plain.rows
        return Slice(self._upload, plain.rows, plain.size, at)

    def store(self, uploader: ChunkUploader, scratch: Path) -> None:
        """Start to store it: no more rows come."""
        if self._text:
            plain = PlainChunk(memoryview(self._text), len(self._text), self._rows, scratch)
            self._upload.start(plain, uploader)
