"""A worker process: ``python -m coffre.worker``.  It speaks with its parent as `coffre.workers` says.

The first message says which task this process does, and holds all that it must know.  Each task imports what
it needs, here: a worker's start is on the clock of every backup.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coffre.workers import Message, Task, serve

if TYPE_CHECKING:
    from coffre.vault.objects import ChunkReader
    from coffre.vault.store import ObjectStore


def make_task(setup: Message) -> Task:
    """The task that a parent's first message asks for: ``task`` says which one."""
    tasks: dict[str, Callable[[Message], Task]] = {
        "capture": _capture,
        "read": _read,
        "load": _load,
        "compare": _compare,
        "late": _late,
    }
    gc.disable()  # modules stay: walking through them again and again is a tenth of their import
    task = tasks[setup["task"]](setup)
    gc.freeze()
    gc.enable()
    return task


def _capture(setup: Message) -> Task:
    from coffre.backup.task import CaptureTask

    return CaptureTask(setup, _store(setup))


def _read(setup: Message) -> Task:
    from coffre.verify.read import ReadTask

    return ReadTask(_store(setup))


def _load(setup: Message) -> Task:
    from coffre.databases.postgresql.load import LoadTask

    return LoadTask(setup, _reader(setup))


def _compare(setup: Message) -> Task:
    from coffre.databases.postgresql.readback import CompareTask

    return CompareTask(setup)


def _late(setup: Message) -> Task:
    from coffre.databases.postgresql.late import LateTask

    return LateTask(setup)


def _reader(setup: Message) -> ChunkReader:
    """Where objects are read: the bucket, or the URLs of a ticket."""
    if "store" in setup:
        return _store(setup)
    from coffre.databases.postgresql.seal import become_unreadable
    from coffre.vault.sealing import handed_over
    from coffre.vault.ticket import TicketReader

    become_unreadable()  # a proof's server runs beside
    return TicketReader(Path(setup["urls"]), handed_over(setup["seal"]))


def _store(setup: Message) -> ObjectStore:
    from coffre.vault.sealing import handed_over
    from coffre.vault.signed import SignedRequests
    from coffre.vault.store import ObjectStore

    there = setup["store"]
    signed = SignedRequests.handed_over(there)
    store = ObjectStore(_LateClient(), there["bucket"], signed, owner=there["owner"])
    return store.with_seal(handed_over(setup["seal"]))


class _LateClient:
    """An S3 client that is made when it is first used: only large files and locks that grow need one."""

    def __init__(self) -> None:
        # Several threads upload, and making a client isn't safe in more than one.
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        from coffre.wiring import client

        with self._lock:
            return getattr(client("s3"), name)


if __name__ == "__main__":
    sys.exit(serve(make_task, sys.stdin, sys.stdout))
