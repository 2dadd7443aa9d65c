"""Loading rows: chunks are fetched ahead, checked while they are unpacked, and sent as they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import BinaryIO

from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.copy import copy_in
from coffre.databases.postgresql.notes import Notes
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
from coffre.vault.locate import locate_chunk
from coffre.vault.objects import ChunkReader
from coffre.vault.parts import Chunk, Relation, decode_record, encode_record
from coffre.workers import Message

AHEAD = 4
ITEM_BYTES = 64 << 20
"""Plain bytes of one COPY: both workers share a large table, and a single one isn't cut into slivers.  A
restore by many functions notes its runs by their numbers, so one that goes on must cut as it did before."""


def load_items(sections: Iterable[tuple[Relation, Sequence[Chunk]]]) -> Iterator[Message]:
    """Work items for `LoadTask`: runs of chunks of one relation."""
    for relation, chunks in sections:
        line = encode_record(relation).decode()
        run: list[Chunk] = []
        for chunk in chunks:
            run.append(chunk)
            if sum(c.bytes for c in run) >= ITEM_BYTES:
                yield _item(line, run)
                run = []
        if run:
            yield _item(line, run)


def _item(line: str, run: Sequence[Chunk]) -> Message:
    return {"relation": line, "chunks": [encode_record(chunk).decode() for chunk in run]}


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
        self._sessions: dict[str, Session] = {}
        self._threads = ThreadPoolExecutor(AHEAD, "fetch")

    def run(self, item: Message) -> Message:
        """Load a run of chunks in one COPY; the answer holds the rows, or what the server ``refused``.

        A refused COPY has left nothing.  The parent decides what to do about it.  ``part`` and ``run`` are
        the numbers under which a restore by many functions notes it.
        """
        relation, *chunks = map(decode_record, [item["relation"].encode(), *map(str.encode, item["chunks"])])
        if not isinstance(relation, Relation):
            raise TypeError("an item starts with its relation")
        wanted = [chunk for chunk in chunks if isinstance(chunk, Chunk)]
        session = self._session(relation.owner)
        try:
            if self._attempt is None:
                self._copy(session, relation, wanted)
            else:
                rows, notes = sum(chunk.rows for chunk in wanted), Notes(session, self._attempt)
                copy = partial(self._copy, session, relation, wanted)
                if not notes.load_once(item["part"], item["run"], rows, copy):
                    return {"rows": 0, "bytes": 0}
        except (QueryFailedError, CatalogChangedError, PrivilegesMissingError) as error:
            return {"rows": 0, "bytes": 0, "refused": describe(error)}
        return {"rows": sum(c.rows for c in wanted), "bytes": sum(c.bytes for c in wanted)}

    def _copy(self, session: Session, relation: Relation, chunks: Sequence[Chunk]) -> None:
        rows = copy_in(session, copy_from(relation), self._blocks(chunks))
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
        user = owner if self._as_owner else self._target.user
        if user not in self._sessions:
            session = open_session(
                replace(self._target, user=user), seconds=self._seconds, application="coffre/load"
            )
            session.run(f"SET client_encoding = '{self._encoding}'")
            self._sessions[user] = session
        return self._sessions[user]

    def _blocks(self, chunks: Sequence[Chunk]) -> Iterator[bytearray]:
        for chunk, body in self._bodies(chunks):
            with closing(body):
                yield from open_chunk(chunk, body, self._reader.seal)

    def _bodies(self, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, BinaryIO]]:
        """The chunks' stored bytes, a few fetched ahead of the one in use."""
        waiting = deque(chunks)
        under_way: deque[tuple[Chunk, Future[BinaryIO]]] = deque()
        try:
            while waiting or under_way:
                while waiting and len(under_way) < AHEAD:
                    chunk = waiting.popleft()
                    under_way.append((chunk, self._threads.submit(self._fetch, chunk)))
                chunk, future = under_way.popleft()
                yield chunk, future.result()
        finally:
            _drop(future for _, future in under_way)

    def _fetch(self, chunk: Chunk) -> BinaryIO:
        return locate_chunk(self._reader, chunk)[1]


def relation_of(item: Message) -> Relation:
    """The relation whose rows an item holds."""
    relation = decode_record(item["relation"].encode())
    if not isinstance(relation, Relation):
        raise TypeError("an item starts with its relation")
    return relation


def _drop(futures: Iterable[Future[BinaryIO]]) -> None:
    for future in futures:
        if not future.cancel():
            try:
                future.result().close()
            except CoffreError:
                continue
