"""Loading rows: chunks are fetched ahead, checked while they are unpacked, and sent as they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import BinaryIO

from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.copy import copy_in
from coffre.databases.postgresql.encodings import recoded
from coffre.databases.postgresql.frozen import load_frozen
from coffre.databases.postgresql.load_path import under
from coffre.databases.postgresql.statements import copy_from
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    CatalogChangedError,
    CoffreError,
    PrivilegesMissingError,
    QueryFailedError,
    RowCountMismatchError,
    describe,
)
from coffre.vault.chunks import open_chunk
from coffre.vault.locate import locate_chunk, read_chunk
from coffre.vault.objects import ChunkReader
from coffre.vault.parts import Chunk, Relation, decode_record
from coffre.vault.shared import SharedChunks
from coffre.workers import Message

AHEAD, AHEAD_BYTES = 4, 8 << 20
"""Chunks, and bytes of their text, that are fetched before they are needed; one, however large it is."""

WHOLE_BYTES = 4 << 20
"""A chunk with at most so many is unpacked at once, and its rows are sent when it is known to be right.  A
larger one is unpacked while it is sent: two whole ones would make a worker's memory grow with tables."""


class LoadTask:
    """A loading worker process.

    The setup's ``as_owner`` makes it connect as the owner of each table: code in the restored database (CHECK
    functions run while rows load) then has that role's rights and no way to others.  ``attempt`` names a
    restore by many functions: items that were loaded before, whoever did it, are skipped.
    """

    def __init__(self, setup: Message, reader: ChunkReader) -> None:
        self._target = Target(**setup["target"])
        self._seconds = float(setup["seconds"])
        self._as_owner = bool(setup["as_owner"])
        self._encoding = setup["encoding"]
        self._attempt = setup.get("attempt")
        self._reader = reader
        self._shared = SharedChunks(reader)
        self._sessions: dict[str, Session] = {}
        self._threads = ThreadPoolExecutor(AHEAD, "fetch")

    def run(self, item: Message) -> Message:
        """Load a run of chunks in one COPY; the answer holds the rows, or what the server ``refused``.

        Pieces of large objects go into the objects, which are there, and aren't counted as rows.

        A refused COPY has left nothing.  The parent decides what to do about it.  ``whole`` says that they
        are all rows of their table, and that nobody else uses it.  ``part`` and ``run`` are the numbers under
        which a restore by many functions notes it.  ``path`` is the search path, if it isn't to be empty.
        """
        relation, *chunks = map(decode_record, [item["relation"].encode(), *map(str.encode, item["chunks"])])
        if not isinstance(relation, Relation):
            raise TypeError("an item starts with its relation")
        wanted = [chunk for chunk in chunks if isinstance(chunk, Chunk)]
        session = self._session(relation.owner)
        rows = sum(chunk.rows for chunk in wanted) if relation.is_table else 0
        copy = partial(self._copy, session, relation, wanted)
        try:
            with under(session, item.get("path", "")):
                if not self._load(session, relation, item, rows, copy):
                    return {"rows": 0, "bytes": 0}
        except (QueryFailedError, CatalogChangedError, PrivilegesMissingError) as error:
            return {"rows": 0, "bytes": 0, "refused": describe(error)}
        return {"rows": rows, "bytes": sum(c.bytes for c in wanted)}

    def _load(
        self, session: Session, relation: Relation, item: Message, rows: int, copy: Callable[[str], None]
    ) -> bool:
        """Load the item's rows; False if that was done before."""
        if self._attempt is not None:
            from coffre.databases.postgresql.notes import Notes  # others start sooner without

            notes = Notes(session, self._attempt)
            return notes.load_once(item["part"], item["run"], rows, partial(copy, copy_from(relation)))
        if item.get("whole"):
            load_frozen(session, relation, copy)
        else:
            copy(copy_from(relation))
        return True

    def _copy(self, session: Session, relation: Relation, chunks: Sequence[Chunk], statement: str) -> None:
        blocks = self._blocks(chunks)
        if relation.is_table:
            rows = copy_in(session, statement, blocks)
        else:
            from coffre.databases.postgresql.large_objects import put  # others start sooner without

            rows = put(session, blocks)
        expected = sum(chunk.rows for chunk in chunks)
        if rows != expected:
            raise RowCountMismatchError(f"{relation.label}: the server took {rows} rows of {expected}")

    def finish(self) -> Message:
        """End the sessions."""
        for session in self._sessions.values():
            session.close()
        self._threads.shutdown()
        return {}

    def _session(self, owner: str) -> Session:
        as_owner = self._as_owner and owner  # large objects run nobody's code
        user = recoded(owner, self._encoding, "UTF8") if as_owner else self._target.user
        if user not in self._sessions:
            session = open_session(
                replace(self._target, user=user), seconds=self._seconds, application="coffre/load"
            )
            session.run(f"SET client_encoding = '{self._encoding}'")
            # Nothing is promised of the rows before a later transaction is on disk, and then they are, too.
            session.run("SET synchronous_commit = off")
            self._sessions[user] = session
        return self._sessions[user]

    def _blocks(self, chunks: Sequence[Chunk]) -> Iterator[bytes | bytearray]:
        for chunk, text in self._texts(chunks):
            if isinstance(text, bytes):
                yield text
                continue
            with closing(text):
                yield from open_chunk(chunk, text, self._reader.seal)

    def _texts(self, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, bytes | BinaryIO]]:
        """The chunks' texts, a few fetched and unpacked ahead of the one that is sent."""
        waiting = deque(chunks)
        under_way: deque[tuple[Chunk, Future[bytes | BinaryIO]]] = deque()
        try:
            while waiting or under_way:
                while waiting and _has_room([chunk for chunk, _ in under_way], waiting[0]):
                    chunk = waiting.popleft()
                    under_way.append((chunk, self._threads.submit(self._fetch, chunk)))
                chunk, future = under_way.popleft()
                yield chunk, future.result()
        finally:
            _drop(future for _, future in under_way)

    def _fetch(self, chunk: Chunk) -> bytes | BinaryIO:
        """A chunk's text; of a large one its stored bytes, which are unpacked while they are sent."""
        if self._shared.can_hold(chunk):
            return self._shared.read(chunk)[1]
        if chunk.plain <= WHOLE_BYTES:
            return read_chunk(self._reader, chunk)
        return locate_chunk(self._reader, chunk)[1]


def _has_room(ahead: Sequence[Chunk], one: Chunk) -> bool:
    size = sum(chunk.bytes for chunk in [*ahead, one])
    return not ahead or (len(ahead) < AHEAD and size <= AHEAD_BYTES)


def relation_of(item: Message) -> Relation:
    """The relation whose rows an item holds."""
    relation = decode_record(item["relation"].encode())
    if not isinstance(relation, Relation):
        raise TypeError("an item starts with its relation")
    return relation


def _drop(futures: Iterable[Future[bytes | BinaryIO]]) -> None:
    for future in futures:
        if not future.cancel():
            try:
                text = future.result()
            except CoffreError:
                continue
            if not isinstance(text, bytes):
                text.close()
