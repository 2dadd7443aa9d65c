"""Chunks: consecutive rows of one relation, cut where the content says so (see `coffre.vault.scan`).

Chunks end at row boundaries.  Their text (of large objects: their binary records) lies in one piece from the
socket to the compressor.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import xxhash
import zstandard

from coffre.buffers import TextBuffer
from coffre.errors import ObjectCorruptError
from coffre.vault.digest import Digest
from coffre.vault.parts import Chunk
from coffre.vault.scan import MIB, ChunkSizes, ends_chunk, scanner
from coffre.vault.sealing import UNSEALED, Seal

LEVEL = 1
"""zstd's level: 1 to 3 is where speed and size meet."""

SPOOL_BYTES = 32 * MIB
"""Plain text above this goes to scratch space: one row can be hundreds of megabytes."""


class PlainChunk:
    """The plain text of a chunk, in memory or, when it is large, in a file.

    Text in memory is the cutter's: it is there while the chunk is handed on, and after that if it was kept.

    Attributes
    ----------
    rows, size:
        Rows, and bytes.
    scratch:
        A folder for what is too large for memory.

    Parameters
    ----------
    sha256:
        The text's, in hex, where whoever cut the chunk has hashed it already.
    """

    def __init__(
        self, text: memoryview | BinaryIO, size: int, rows: int, scratch: Path, sha256: str = ""
    ) -> None:
        self.rows = rows
        self.size = size
        self._sha256 = sha256
        self._text = text
        self._kept = False
        self.scratch = scratch

    @property
    def id(self) -> str:
        """The SHA-256 of the text, in hex."""
        if not self._sha256:
            digest = hashlib.sha256()
            for block in self.blocks():
                digest.update(block)
            self._sha256 = digest.hexdigest()
        return self._sha256

    def blocks(self) -> Iterator[memoryview | bytes]:
        """The text, in blocks."""
        if isinstance(self._text, memoryview):
            yield self._text
            return
        self._text.seek(0)
        while block := self._text.read(MIB):
            yield block

    def keep(self) -> None:
        """Let the text be used after the chunk was handed on, too: a copy of it, if it is in memory."""
        if isinstance(self._text, memoryview):
            self._text = memoryview(bytes(self._text))
        self._kept = True

    def let_go(self) -> None:
        """Refuse to give the cutter's memory any more."""
        if isinstance(self._text, memoryview) and not self._kept:
            self._text.release()

    def compressed(self) -> tuple[BinaryIO, int, str]:
        """The zstd frame of the text: a file to read from, its size, and the SHA-256 of its bytes in hex.

        A frame that may be large is written to scratch space.
        """
        out: BinaryIO
        if isinstance(self._text, memoryview):
            body = zstandard.ZstdCompressor(level=LEVEL).compress(self._text)
            return io.BytesIO(body), len(body), hashlib.sha256(body).hexdigest()
        out = tempfile.TemporaryFile(dir=self.scratch)  # noqa: SIM115 - the uploader closes it
        compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj(size=self.size)
        digest, size = hashlib.sha256(), 0
        for piece in self._compress(compressor):
            digest.update(piece)
            size += out.write(piece)
        out.seek(0)
        return out, size, digest.hexdigest()

    def _compress(self, compressor: zstandard.ZstdCompressionObj) -> Iterator[bytes]:
        for block in self.blocks():
            yield compressor.compress(block)
        yield compressor.flush()


class ChunkCutter:
    """Takes rows (it is a `RowSink`), sums their digest, and hands on finished chunks.

    Parameters
    ----------
    emit:
        Called with each finished chunk, in the order of the rows.  The chunk's text is gone when it returns,
        unless it was kept.
    scratch:
        A folder for chunks that are too large for memory.
    text:
        Memory that an earlier cutter has let go of: it has grown already.
    """

    def __init__(
        self,
        sizes: ChunkSizes,
        emit: Callable[[PlainChunk], None],
        scratch: Path,
        text: TextBuffer | None = None,
    ) -> None:
        self.digest = Digest()
        self.bytes = 0
        self._sizes = sizes
        self._scan = scanner(self.digest, sizes)
        self._emit = emit
        self._scratch = scratch
        self._text = text or TextBuffer()
        self._hash = hashlib.sha256()
        self._scanned = 0
        self._spool: BinaryIO | None = None
        self._spooled = 0
        self._rows_before = 0

    def room(self, size: int) -> memoryview:
        """Where the text is to be written; see `RowSink`."""
        return self._text.room(size)

    def take(self, size: int) -> None:
        """Take whole rows; see `RowSink`."""
        self._text.add(size)
        self.bytes += size
        is_cut = True
        while is_cut:
            rows = self._text.view(self._scanned)
            taken, is_cut = self._scan(rows, self._spooled + self._scanned)
            self._hash.update(rows[:taken])  # while the processor's cache still holds them
            self._scanned += taken
            if is_cut:
                self._flush()
        self._spool_much()

    def large_row(self, pieces: Iterator[bytes]) -> None:
        """Take one row in pieces; see `RowSink`.  It always ends a chunk."""
        row_hash = xxhash.xxh3_128()
        for piece in pieces:
            row_hash.update(piece)
            self._append(piece)
        self._append(b"\n")
        self.digest.add(1, row_hash.intdigest())
        self._flush()

    def record(self, record: bytes) -> None:
        """Take one record of the binary format; it ends a chunk as a row of its length does."""
        record_hash = xxhash.xxh3_128_digest(record)
        self._append(record)
        self.digest.add_hashes([record_hash])
        if ends_chunk(record_hash, len(record), self._spooled + self._scanned, self._sizes):
            self._flush()

    def finish(self) -> None:
        """Hand on what is left."""
        if self._spooled or self._scanned:
            self._flush()

    def _append(self, text: bytes) -> None:
        self._text.append(text)
        self._hash.update(text)
        self.bytes += len(text)
        self._scanned += len(text)
        self._spool_much()

    def _spool_much(self) -> None:
        """Move the text to scratch space when it is too much for memory."""
        if self._scanned > SPOOL_BYTES:
            self._spool_all()

    def _spool_all(self) -> None:
        if self._spool is None:
            self._spool = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115 - lives as long as the chunk
        self._spool.write(self._text.view(0, self._scanned))
        self._text.drop(self._scanned)
        self._spooled += self._scanned
        self._scanned = 0

    def _flush(self) -> None:
        if self._spool is not None:
            self._spool_all()
        size, rows = self._spooled + self._scanned, self.digest.rows - self._rows_before
        text = self._spool or self._text.view(0, self._scanned)
        chunk = PlainChunk(text, size, rows, self._scratch, self._hash.hexdigest())
        self._emit(chunk)
        chunk.let_go()
        self._text.drop(self._scanned)
        self._scanned = self._spooled = 0
        self._spool = None
        self._hash = hashlib.sha256()
        self._rows_before = self.digest.rows


def open_chunk(
    chunk: Chunk, body: BinaryIO, seal: Seal = UNSEALED, *, close: bool = True
) -> Iterator[bytearray]:
    """Unpack a stored chunk and check it, whole, while it streams.

    Parameters
    ----------
    body:
        The object's bytes.
    seal:
        The backup's.
    close:
        Close the body at the end.

    Yields
    ------
    bytearray
        The text in blocks, of a slice its own part of it.  Nothing may be trusted before the generator has
        ended without an error.

    Raises
    ------
    ObjectCorruptError
        If it isn't a zstd frame, is longer or shorter than recorded, has another hash, or isn't sealed as it
        should be.
    """
    _require_encoding(chunk, seal)
    digest, length = hashlib.sha256(), 0
    try:
        unpacker, packed = zstandard.ZstdDecompressor(), seal.opened(body, chunk.key)
        with unpacker.stream_reader(packed, read_across_frames=False, closefd=False) as reader:
            while block := _read(reader, MIB):
                start, length = length, length + len(block)
                if length > chunk.plain:
                    break
                digest.update(block)
                if chunk.whole:
                    block = block[max(0, chunk.at - start) : max(0, chunk.at + chunk.bytes - start)]
                if block:
                    yield block
    except zstandard.ZstdError as error:
        raise ObjectCorruptError(f"chunk {chunk.key} is not a zstd frame") from error
    finally:
        if close:
            body.close()
    _require_content(chunk, length, digest.hexdigest(), seal)


def unpack_chunk(chunk: Chunk, stored: bytes, seal: Seal = UNSEALED) -> bytes:
    """Unpack a stored chunk that fits into memory, and check it: a third cheaper than `open_chunk`.

    It is the whole text, of a slice, too: `rows_of` takes that out.

    Parameters
    ----------
    stored:
        The object's bytes.
    seal:
        The backup's.

    Raises
    ------
    ObjectCorruptError
        As `open_chunk` does.
    """
    _require_encoding(chunk, seal)
    packed = stored if seal.key is None else seal.opened(io.BytesIO(stored), chunk.key).read()
    try:
        # What a frame says of itself is allocated whatever limit is given.
        if zstandard.frame_content_size(packed) > chunk.plain:
            raise ObjectCorruptError(f"chunk {chunk.key} holds more than {chunk.plain} bytes")
        text = zstandard.ZstdDecompressor().decompress(packed, max_output_size=chunk.plain)
    except zstandard.ZstdError as error:
        raise ObjectCorruptError(f"chunk {chunk.key} is not a zstd frame of {chunk.plain} bytes") from error
    _require_content(chunk, len(text), hashlib.sha256(text).hexdigest(), seal)
    return text


def _require_encoding(chunk: Chunk, seal: Seal) -> None:
    if chunk.encoding != seal.encoding:
        raise ObjectCorruptError(f"chunk {chunk.key} is {chunk.encoding}, its backup is {seal.encoding}")


def _require_content(chunk: Chunk, length: int, sha256: str, seal: Seal) -> None:
    if length != chunk.plain:
        raise ObjectCorruptError(f"chunk {chunk.key} holds {length} bytes or more, expected {chunk.plain}")
    found = seal.chunk_id(sha256)
    if found != chunk.id:
        raise ObjectCorruptError(f"chunk {chunk.key} has hash {found}, expected {chunk.id}")


def _read(reader: zstandard.ZstdDecompressionReader, size: int) -> bytearray:
    """Up to ``size`` bytes, in memory that compiled code may be pointed to; none at the end."""
    block = bytearray(size)
    del block[reader.readinto(block) :]
    return block
