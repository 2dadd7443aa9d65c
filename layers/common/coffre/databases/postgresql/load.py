"""Loading rows: chunks are fetched ahead, checked while they are unpacked, and sent as they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import BinaryIO

from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.copy import copy_in
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
from coffre.vault.objects import ChunkReader
from coffre.vault.parts import Chunk, Relation, decode_record, encode_record
from coffre.vault.reader import locate_chunk
from coffre.workers import Message

AHEAD = 4
ITEM_BYTES = 64 << 20
"""Plain bytes of one COPY: both workers share a large table, and a single one isn't cut into slivers."""


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
    functions run while rows load) then has that role's rights and no way to others.
    """

    def __init__(self, setup: Message, reader: ChunkReader) -> None:
        self._target = Target(**setup["target"])
        self._seconds = float(setup["seconds"])
        self._as_owner = bool(setup["as_owner"])
        self._encoding = setup["encoding"]
        self._reader = reader
        self._sessions: dict[str, Session] = {}
        self._threads = ThreadPoolExecutor(AHEAD, "fetch")

    def run(self, item: Message) -> Message:
        """Load a run of chunks in one COPY; the answer holds the rows, or what the server ``refused``.

        A refused COPY has left nothing.  The parent decides what to do about it.
        """
        relation, *chunks = map(decode_record, [item["relation"].encode(), *map(str.encode, item["chunks"])])
        if not isinstance(relation, Relation):
            raise TypeError("an item starts with its relation")
        wanted = [chunk for chunk in chunks if isinstance(chunk, Chunk)]
        try:
            rows = copy_in(self._session(relation.owner), copy_from(relation), self._blocks(wanted))
        except (QueryFailedError, CatalogChangedError, PrivilegesMissingError) as error:
            return {"rows": 0, "bytes": 0, "refused": describe(error)}
        expected = sum(chunk.rows for chunk in wanted)
        if rows != expected:
            raise RowCountMismatchError(f"{relation.label}: the server took {rows} rows of {expected}")
        return {"rows": rows, "bytes": sum(chunk.bytes for chunk in wanted)}

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
                yield from open_chunk(chunk, body)

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


def _drop(futures: Iterable[Future[BinaryIO]]) -> None:
    for future in futures:
        if not future.cancel():
            try:
                future.result().close()
            except CoffreError:
                continue
