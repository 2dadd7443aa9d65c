"""A capturing worker process: its setup, its items, its answers."""

from __future__ import annotations

import resource
from dataclasses import asdict
from pathlib import Path

from coffre.backup.capture import Capture
from coffre.backup.plan import WorkItem
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.snapshot import import_snapshot
from coffre.databases.postgresql.target import Target
from coffre.errors import ProtocolViolationError
from coffre.vault.known import KnownChunks
from coffre.vault.layout import Layout
from coffre.vault.parts import Relation, decode_record
from coffre.vault.store import ObjectStore
from coffre.vault.uploader import ChunkUploader
from coffre.workers import Message


class CaptureTask:
    """Captures the relations that the parent names, under the parent's snapshot."""

    def __init__(self, setup: Message, store: ObjectStore) -> None:
        session = open_session(
            Target(**setup["target"]), seconds=setup["seconds"], application=setup["application"]
        )
        import_snapshot(session, setup["snapshot"])
        known = KnownChunks(Path(setup["known"]) if setup["known"] else None)
        self._uploader = ChunkUploader(store, Layout(setup["database"]), known)
        self._capture = Capture(session, store, self._uploader, setup["part_key"], Path(setup["scratch"]))

    def run(self, item: Message) -> Message:
        """Capture one item; the answer holds its end record."""
        relation = decode_record(item["relation"].encode())
        if not isinstance(relation, Relation):
            raise ProtocolViolationError("the parent sent an item without a relation")
        pages = (item["pages"][0], item["pages"][1]) if item["pages"] else None
        return {"end": asdict(self._capture.capture(WorkItem(relation, item["size"], pages)))}

    def finish(self) -> Message:
        """Flush; the answer holds the part and what was new."""
        part = self._capture.finish()
        self._uploader.close()
        return {
            "part": part.model_dump(),
            "new_chunks": self._capture.new_chunks,
            "new_bytes": self._capture.new_bytes,
            "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
