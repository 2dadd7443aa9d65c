"""The worker's side of a verification: chunks are read back, unpacked, hashed and counted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing

from coffre.errors import ObjectCorruptError, ObjectMissingError, describe
from coffre.vault.chunks import open_chunk
from coffre.vault.digest import Digest
from coffre.vault.locate import locate_chunk
from coffre.vault.parts import Chunk, decode_record
from coffre.vault.rows import digest_records, digest_text
from coffre.vault.shared import SharedChunks
from coffre.vault.store import ObjectStore
from coffre.workers import Message

Block = bytes | bytearray


class ReadTask:
    """Reads chunks; a damaged one is reported and doesn't end the work."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._shared = SharedChunks(store)
        self._hidden: dict[str, str] = {}

    def run(self, item: Message) -> Message:
        """Read the item's chunks; the answer holds rows, bytes, digest, and what was damaged.

        ``text`` says whether they hold COPY text.

        ``hidden`` names the versions of chunks that lie behind a delete marker or another version.
        """
        self._hidden = {}
        digest, length, damaged = Digest(), 0, []
        for line in item["chunks"]:
            chunk = decode_record(line.encode())
            if not isinstance(chunk, Chunk):
                raise TypeError("an item holds chunks only")
            try:
                length += self._read(chunk, digest, digest_text if item["text"] else digest_records)
            except (ObjectCorruptError, ObjectMissingError) as error:
                damaged.append({"key": chunk.key, **describe(error)})
        return {
            "rows": digest.rows,
            "bytes": length,
            "digest": digest.hex(),
            "damaged": damaged,
            "hidden": self._hidden,
        }

    def finish(self) -> Message:
        """Nothing is left to do."""
        return {}

    def _read(self, chunk: Chunk, digest: Digest, add: Callable[[Iterable[Block], Digest], int]) -> int:
        found = Digest()
        with closing(self._open(chunk)) as blocks:
            length = add(blocks, found)
        if found.rows != chunk.rows:
            raise ObjectCorruptError(f"chunk {chunk.key} holds {found.rows} rows, expected {chunk.rows}")
        digest.add(found.rows, found.value)
        return length

    def _open(self, chunk: Chunk) -> Generator[Block]:
        """The chunk's rows in blocks; notes where they are hidden."""
        if self._shared.can_hold(chunk):
            version, text = self._shared.read(chunk)
            blocks: Iterable[Block] = (text,)
        else:
            version, body = locate_chunk(self._store, chunk)
            blocks = open_chunk(chunk, body, self._store.seal)
        if version is not None:
            self._hidden[chunk.key] = version
        yield from blocks
