"""The worker's side of a backup: one COPY an item, cut, hashed and stored; records written to parts."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path

from coffre.backup.plan import WorkItem
from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.copy import copy_out
from coffre.databases.postgresql.statements import copy_to, generated_to
from coffre.vault.chunks import ChunkCutter, ChunkSizes, PlainChunk
from coffre.vault.files import put_file
from coffre.vault.parts import End, PartWriter, Record
from coffre.vault.rows import DigestSink
from coffre.vault.store import ObjectStore
from coffre.vault.uploader import ChunkUploader, Stored
from coffre.workers import Message

IN_FLIGHT_BYTES = 24 << 20
"""Plain bytes of chunks whose upload isn't done; more of them wait."""


class Capture:
    """Reads relations under an imported snapshot into chunks and one part.

    Parameters
    ----------
    session:
        Under the snapshot.
    part_key:
        The part's key, with ``{sha256}`` for its hash.
    """

    def __init__(
        self, session: Session, store: ObjectStore, uploader: ChunkUploader, part_key: str, scratch: Path
    ) -> None:
        self._session = session
        self._store = store
        self._uploader = uploader
        self._part_key = part_key
        self._scratch = scratch
        handle, path = tempfile.mkstemp(prefix="part-", dir=scratch)
        self._path = Path(path)
        self._file = os.fdopen(handle, "wb")
        self._part = PartWriter(self._file)
        self._pending: deque[tuple[Record | Future[Stored], int]] = deque()
        self._in_flight = 0
        self.new_chunks = 0
        self.new_bytes = 0

    def capture(self, item: WorkItem) -> End:
        """Read one item; the counts and the digest of its rows.

        The upload of its last chunks may still be under way: `finish` waits for them.
        """
        self._add(item.relation, 0)
        cutter = ChunkCutter(ChunkSizes.for_relation(item.size), self._store_chunk, self._scratch)
        rows = copy_out(self._session, copy_to(item.relation, item.pages), cutter)
        cutter.finish()
        end = End(item.relation.id, rows, cutter.bytes, cutter.digest.hex(), self._generated(item))
        self._add(end, 0)
        return end

    def _generated(self, item: WorkItem) -> str:
        """The digest of the stored generated columns: a restore computes them again and is compared."""
        if not item.relation.generated:
            return ""
        sink = DigestSink()
        copy_out(self._session, generated_to(item.relation, item.pages), sink)
        return sink.digest.hex()

    def finish(self) -> Message:
        """Wait for all uploads, store the part, and say where it is: the fields of a `PartFile`."""
        self._drain(0)
        self._part.close()
        self._file.close()
        stored = put_file(self._store, self._path, self._part_key)
        self._path.unlink()
        part = self._part
        return {**asdict(stored), "bytes": part.bytes, "relations": part.relations, "chunks": part.chunks}

    def _store_chunk(self, plain: PlainChunk) -> None:
        self._add(self._uploader.submit(plain), plain.size)
        self._drain(IN_FLIGHT_BYTES)

    def _add(self, record: Record | Future[Stored], size: int) -> None:
        self._pending.append((record, size))
        self._in_flight += size

    def _drain(self, allowed: int) -> None:
        """Write the records that are ready, in order; wait for uploads until ``allowed`` bytes are left."""
        while self._pending:
            record, size = self._pending[0]
            if isinstance(record, Future):
                if self._in_flight <= allowed and not record.done():
                    return
                stored = record.result()
                self.new_chunks += stored.new
                self.new_bytes += stored.chunk.stored if stored.new else 0
                record = stored.chunk
            self._part.write(record)
            self._pending.popleft()
            self._in_flight -= size
