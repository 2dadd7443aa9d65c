"""The worker's side of a backup: one COPY an item, cut, hashed and stored; records written to parts."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from coffre.backup.plan import WorkItem
from coffre.backup.sharing import SHARING_BYTES, SharedText, Slice, Upload
from coffre.buffers import TextBuffer
from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.copy import copy_out
from coffre.databases.postgresql.reading import read_rows
from coffre.databases.postgresql.statements import Pages, copy_to, generated_to
from coffre.errors import ChunkDamagedError, ObjectCorruptError, ObjectExistsError, ProtocolViolationError
from coffre.ids import utc_now
from coffre.vault.chunks import ChunkCutter, PlainChunk
from coffre.vault.files import put_file
from coffre.vault.layout import Layout
from coffre.vault.parts import End, PartWriter, Record, Relation
from coffre.vault.rows import DigestSink
from coffre.vault.scan import ChunkSizes
from coffre.vault.store import ObjectStore
from coffre.vault.uploader import ChunkUploader, Stored
from coffre.workers import Message

IN_FLIGHT_BYTES = 24 << 20
"""Plain bytes of chunks whose upload isn't done; more of them wait."""


@dataclass
class _Section:
    """A relation, or a piece of one, that is being read."""

    relation: Relation
    cutter: ChunkCutter
    generated: DigestSink | None
    rows: int = 0


class Capture:
    """Reads relations under an imported snapshot into chunks and one part.

    Parameters
    ----------
    session:
        Under the snapshot.
    part_key:
        The part's key, with ``{sha256}`` for its hash.
    layout, backup_id:
        Which backup this is for: damage in the vault is noted under it.
    """

    def __init__(
        self,
        session: Session,
        store: ObjectStore,
        uploader: ChunkUploader,
        part_key: str,
        scratch: Path,
        *,
        layout: Layout,
        backup_id: str,
    ) -> None:
        self._session = session
        self._store = store
        self._uploader = uploader
        self._part_key = part_key
        self._scratch = scratch
        self._layout = layout
        self._backup_id = backup_id
        self._damaged: set[str] = set()
        self._text = TextBuffer()
        handle, path = tempfile.mkstemp(prefix="part-", dir=scratch)
        self._path = Path(path)
        self._file = os.fdopen(handle, "wb")
        self._part = PartWriter(self._file)
        self._pending: deque[Record | Slice] = deque()
        self._in_flight = 0
        self._shared: SharedText | None = None
        self._section: _Section | None = None
        self.new_chunks = 0
        self.new_bytes = 0

    def capture(self, item: WorkItem) -> End:
        """Read one item; the counts and the digest of its rows.

        The upload of its last chunks may still be under way: `finish` waits for them.
        """
        self.begin(item)
        self.read(item.pages)
        return self.end()

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Let the small relations that are captured meanwhile share a chunk."""
        self._shared = SharedText()
        yield
        self._shared.store(self._uploader, self._scratch)
        self._shared = None

    def begin(self, item: WorkItem) -> None:
        """Open an item's section, which `read` fills and `end` closes."""
        self._pending.append(item.relation)
        sizes = ChunkSizes.for_relation(item.whole)
        cutter = ChunkCutter(sizes, self._store_chunk, self._scratch, self._text)
        generated = DigestSink() if item.relation.generated else None
        self._section = _Section(item.relation, cutter, generated)

    def read(self, pages: Pages | None) -> int:
        """Read the open item's rows, or those on some of its pages; how many there are."""
        section = self._opened()
        rows = read_rows(self._session, section.relation, copy_to(section.relation, pages), section.cutter)
        if section.generated is not None:
            # A restore computes stored generated columns again and is compared.
            copy_out(self._session, generated_to(section.relation, pages), section.generated)
        section.rows += rows
        return rows

    def end(self) -> End:
        """Close the open section."""
        section = self._opened()
        section.cutter.finish()
        relation, cutter = section.relation, section.cutter
        generated = section.generated.digest.hex() if section.generated is not None else ""
        end = End(relation.id, section.rows, cutter.bytes, cutter.digest.hex(), generated)
        self._pending.append(end)
        self._section = None
        return end

    def _opened(self) -> _Section:
        if self._section is None:
            raise ProtocolViolationError("the parent sent rows to read without a relation")
        return self._section

    def finish(self) -> Message:
        """End the session, wait for all uploads, store the part; answers where it is (a `PartFile`).

        Raises
        ------
        ChunkDamagedError
            If chunks of these rows are in the vault, but damaged; they are noted for the next rotation.
        """
        self._session.close()
        self._drain(0)
        if self._damaged:
            self._tell_damage()
        self._part.close()
        self._file.close()
        stored = put_file(self._store, self._path, self._part_key)
        self._path.unlink()
        part = self._part
        return {**asdict(stored), "bytes": part.bytes, "relations": part.relations, "chunks": part.chunks}

    def _store_chunk(self, plain: PlainChunk) -> None:
        if self._shared is not None and plain.size <= SHARING_BYTES:
            rows = self._shared.take(plain)
        else:
            rows = Slice(Upload(), plain.rows, plain.size)
            rows.upload.start(plain, self._uploader)
        self._pending.append(rows)
        self._in_flight += rows.size
        self._drain(IN_FLIGHT_BYTES)

    def _drain(self, allowed: int) -> None:
        """Write the records that are ready, in order; wait for uploads until ``allowed`` bytes are left."""
        while self._pending:
            first = self._pending[0]
            if isinstance(first, Slice):
                stored = first.upload.stored
                if stored is None or (self._in_flight <= allowed and not stored.done()):
                    return
                self._take(first, stored)
                self._in_flight -= first.size
            else:
                self._part.write(first)
            self._pending.popleft()

    def _take(self, rows: Slice, upload: Future[Stored]) -> None:
        """Write an upload's record.  Damage ends the run later: one run is to find all of it."""
        try:
            stored = upload.result()
        except ObjectCorruptError:
            self._damaged.add(rows.upload.chunk_id)
            return
        if stored.new and rows.is_first:
            self.new_chunks += 1
            self.new_bytes += stored.chunk.stored
        self._part.write(rows.record(stored.chunk))

    def _tell_damage(self) -> NoReturn:
        from coffre.vault.notes import MAX_CHUNKS, Chunks, write_note  # no other run needs them

        found = sorted(self._damaged)
        with suppress(ObjectExistsError):  # of the other worker, at the same time: the next run tells again
            note = Chunks(chunks=found[:MAX_CHUNKS])
            write_note(self._store, self._layout, self._backup_id, "damage", note, utc_now())
        number = f"{len(found)} chunks" if len(found) > 1 else "a chunk"
        raise ChunkDamagedError(
            f"{number} of {self._layout.database} in the vault can't be used again, for example "
            f"{self._layout.chunk(found[0])}: its content isn't what its key says"
        )
