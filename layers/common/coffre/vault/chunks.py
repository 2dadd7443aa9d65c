"""Chunks: consecutive rows of one relation, cut where the content says so.

Chunks end at row boundaries, after a row whose hash falls below a threshold that is proportional to the row's
length.  So a boundary depends on one row only: an insert moves the boundaries around it and no others, and
all other chunks keep their ids.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import xxhash
import zstandard

from coffre.errors import ObjectCorruptError
from coffre.vault.digest import Digest, row_hashes
from coffre.vault.parts import Chunk

MIB = 1 << 20
LEVEL = 1
"""zstd's level: 1 to 3 is where speed and size meet."""

SPOOL_BYTES = 32 * MIB
"""Plain text above this goes to scratch space: one row can be hundreds of megabytes."""


@dataclass(frozen=True)
class ChunkSizes:
    """Plain bytes of a chunk: no boundary before ``minimum``, ``target`` on average, forced at ``maximum``.

    One row alone may exceed the maximum.
    """

    minimum: int
    target: int
    maximum: int

    @classmethod
    def for_relation(cls, size: int) -> ChunkSizes:
        """The sizes for ``size`` bytes on disk: small chunks deduplicate, large ones are cheap."""
        target = MIB if size <= 1 << 30 else 4 * MIB if size <= 1 << 36 else 16 * MIB
        return cls(target // 4, target, target * 4)


@dataclass
class PlainChunk:
    """The plain text of a chunk, in memory or, when it is large, in a file."""

    scratch: Path
    rows: int = 0
    size: int = 0
    _blocks: list[bytes] = field(default_factory=list)
    _file: BinaryIO | None = None
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def append(self, text: bytes, rows: int) -> None:
        """Add text, which may end in the middle of a row, and the number of rows that it completes."""
        self._hash.update(text)
        self.rows += rows
        self.size += len(text)
        if self._file is not None:
            self._file.write(text)
            return
        self._blocks.append(text)
        if self.size > SPOOL_BYTES:
            self._file = tempfile.TemporaryFile(dir=self.scratch)  # noqa: SIM115 - lives as long as the chunk
            self._file.writelines(self._blocks)
            self._blocks.clear()

    @property
    def id(self) -> str:
        """The SHA-256 of the text, in hex."""
        return self._hash.hexdigest()

    def blocks(self) -> Iterator[bytes]:
        """The text, in blocks."""
        if self._file is None:
            yield from self._blocks
            return
        self._file.seek(0)
        while block := self._file.read(MIB):
            yield block

    def compressed(self) -> tuple[BinaryIO, int, str]:
        """The zstd frame of the text: a file to read from, its size, and the SHA-256 of its bytes in hex.

        A frame that may be large is written to scratch space.
        """
        out: BinaryIO
        if self._file is None:
            body = zstandard.ZstdCompressor(level=LEVEL).compress(b"".join(self._blocks))
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
        Called with each finished chunk, in the order of the rows.
    scratch:
        A folder for chunks that are too large for memory.
    """

    def __init__(self, sizes: ChunkSizes, emit: Callable[[PlainChunk], None], scratch: Path) -> None:
        self.digest = Digest()
        self.bytes = 0
        self._sizes = sizes
        self._emit = emit
        self._scratch = scratch
        self._chunk = PlainChunk(scratch)

    def rows(self, rows: list[bytes], text: bytes) -> None:
        """Take whole rows; see `RowSink`."""
        hashes = row_hashes(rows)
        self.digest.add_hashes(hashes)
        self.bytes += len(text)
        start, first = 0, 0
        for end, after in self._cuts(rows, hashes, len(text)):
            self._chunk.append(text[start:end], after - first)
            self._flush()
            start, first = end, after
        if start < len(text):
            self._chunk.append(text[start:] if start else text, len(rows) - first)

    def large_row(self, pieces: Iterator[bytes]) -> None:
        """Take one row in pieces; see `RowSink`.  It always ends a chunk."""
        row_hash = xxhash.xxh3_128()
        for piece in pieces:
            row_hash.update(piece)
            self.bytes += len(piece)
            self._chunk.append(piece, 0)
        self._chunk.append(b"\n", 1)
        self.bytes += 1
        self.digest.add(1, row_hash.intdigest())
        self._flush()

    def finish(self) -> None:
        """Hand on what is left."""
        if self._chunk.size:
            self._flush()

    def _flush(self) -> None:
        self._emit(self._chunk)
        self._chunk = PlainChunk(self._scratch)

    def _cuts(self, rows: list[bytes], hashes: list[bytes], size: int) -> Iterator[tuple[int, int]]:
        """Where to cut a block of rows: (bytes before the cut, rows before the cut)."""
        held, sizes = self._chunk.size, self._sizes
        if held + size < sizes.minimum:
            return
        likely = self._candidates(rows, hashes)
        if not likely and held + size < sizes.maximum:
            return
        sums = list(accumulate(map(len, rows)))

        def end(row: int) -> int:
            return sums[row] + row + 1  # a newline stands after each row

        begin, done = -held, 0
        while True:
            forced = bisect_left(range(len(rows)), begin + sizes.maximum, lo=done, key=end) + 1
            allowed = bisect_left(range(len(rows)), begin + sizes.minimum, lo=done, key=end) + 1
            done = next((number for number in likely if allowed <= number <= forced), forced)
            if done > len(rows):
                return
            begin = end(done - 1)
            yield begin, done

    def _candidates(self, rows: list[bytes], hashes: list[bytes]) -> list[int]:
        """The numbers, from 1, of the rows whose hash asks for a cut.

        The hashes are compared with the longest row's threshold first: that settles nearly all of them.
        """
        coarse = self._threshold(max(map(len, rows)))
        if min(hashes) >= coarse:
            return []
        numbers, number = [], 0
        for row_hash in filter(coarse.__gt__, hashes):
            number = hashes.index(row_hash, number) + 1
            if row_hash < self._threshold(len(rows[number - 1])):
                numbers.append(number)
        return numbers

    def _threshold(self, length: int) -> bytes:
        """A row of ``length`` bytes ends a chunk if its hash, a number below 2^128, is below this."""
        return min((length + 1 << 128) // self._sizes.target, (1 << 128) - 1).to_bytes(16, "big")


def open_chunk(chunk: Chunk, body: BinaryIO, *, close: bool = True) -> Iterator[bytes]:
    """Unpack a stored chunk and check it while it streams.

    Parameters
    ----------
    body:
        The object's bytes.
    close:
        Close the body at the end.

    Yields
    ------
    bytes
        The plain text in blocks.  Nothing may be trusted before the generator has ended without an error.

    Raises
    ------
    ObjectCorruptError
        If it isn't a zstd frame, is longer or shorter than recorded, or has another hash.
    """
    digest, length = hashlib.sha256(), 0
    try:
        unpacker = zstandard.ZstdDecompressor()
        with unpacker.stream_reader(body, read_across_frames=False, closefd=close) as reader:
            while block := reader.read(MIB):
                length += len(block)
                if length > chunk.bytes:
                    break
                digest.update(block)
                yield block
    except zstandard.ZstdError as error:
        raise ObjectCorruptError(f"chunk {chunk.key} is not a zstd frame") from error
    if length != chunk.bytes:
        raise ObjectCorruptError(f"chunk {chunk.key} holds {length} bytes or more, expected {chunk.bytes}")
    if digest.hexdigest() != chunk.id:
        raise ObjectCorruptError(f"chunk {chunk.key} has hash {digest.hexdigest()}, expected {chunk.id}")
