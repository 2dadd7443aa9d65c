"""A capturing worker process: its setup, its items, its answers."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from coffre.backup.capture import Capture
from coffre.backup.plan import WorkItem
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.snapshot import import_snapshot
from coffre.databases.postgresql.statements import Pages
from coffre.databases.postgresql.target import Target
from coffre.errors import ProtocolViolationError, QueryFailedError, ValueTooLargeError
from coffre.vault.known import KnownChunks
from coffre.vault.layout import Layout
from coffre.vault.locks import Lock
from coffre.vault.parts import End, Relation, decode_record
from coffre.vault.store import ObjectStore
from coffre.vault.uploader import ChunkUploader
from coffre.workers import Message


class CaptureTask:
    """Captures the relations that the parent names, under the snapshot that it names with them.

    The process starts while the parent still looks for tables and waits for locks, so the snapshot comes with
    the items.
    """

    def __init__(self, setup: Message, store: ObjectStore) -> None:
        self._setup = setup
        self._store = store.with_lock(Lock.handed_over(setup["lock"]))
        self._capture: Capture | None = None

    @cached_property
    def _uploader(self) -> ChunkUploader:
        known = Path(self._setup["known"])
        layout = Layout(self._setup["database"])
        return ChunkUploader(self._store, layout, KnownChunks(known if known.exists() else None))

    def _begin(self, snapshot: str) -> Capture:
        """Open the session under the snapshot: with the first item, for there may be none."""
        setup = self._setup
        session = open_session(
            Target(**setup["target"]), seconds=setup["seconds"], application=setup["application"]
        )
        session.run(f"SET lock_timeout = {int(setup['lock_seconds'] * 1000)}")
        import_snapshot(session, snapshot)
        return Capture(
            session,
            self._store,
            self._uploader,
            setup["part_key"],
            Path(setup["scratch"]),
            layout=Layout(setup["database"]),
            backup_id=setup["backup_id"],
        )

    def run(self, item: Message) -> Message:
        """Capture one item; the answer holds the end records of the sections that were closed.

        ``shared`` holds several items, whose rows share a chunk.  ``step`` asks for a part of one: ``begin``
        reads the first pages and leaves the section open, ``read`` reads further ones, ``end`` closes it.
        """
        if self._capture is None:
            self._capture = self._begin(item["snapshot"])
        return {"ends": [asdict(end) for end in _do(self._capture, item)]}

    def finish(self) -> Message:
        """Flush; the answer holds the part, which a worker without items hasn't, and what was new."""
        capture = self._capture
        part = capture.finish() if capture is not None else None
        self._uploader.close()
        return {
            "part": part,
            "new_chunks": capture.new_chunks if capture is not None else 0,
            "new_bytes": capture.new_bytes if capture is not None else 0,
            "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }


def _do(capture: Capture, item: Message) -> list[End]:
    step = item.get("step")
    if step == "end":
        return [capture.end()]
    if "shared" in item:
        with capture.sharing():
            return [_captured(capture, _work(one)) for one in item["shared"]]
    work = _work(item)
    if step is None:
        return [_captured(capture, work)]
    if step == "begin":
        capture.begin(work)
    with _named(work):
        capture.read(work.pages)
    return []


def _captured(capture: Capture, work: WorkItem) -> End:
    with _named(work):
        return capture.capture(work)


@contextmanager
def _named(work: WorkItem) -> Iterator[None]:
    """Errors of a query name the relation."""
    try:
        yield
    except (QueryFailedError, ValueTooLargeError) as error:
        message = f"the rows of {work.relation.label} can't be read: {error.message}"
        raise type(error)(message, error.hint) from error


def _work(item: Message) -> WorkItem:
    relation = decode_record(item["relation"].encode())
    if not isinstance(relation, Relation):
        raise ProtocolViolationError("the parent sent an item without a relation")
    return WorkItem(relation, item["size"], _pages(item))


def _pages(item: Message) -> Pages | None:
    return (item["pages"][0], item["pages"][1]) if item["pages"] else None
