"""Whole verbs without a cloud: a store in this process, workers in this process, no catalogue, no events."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

import zstandard

from coffre.backup import run as backup
from coffre.backup.job import Services as BackupServices
from coffre.backup.task import CaptureTask
from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.late import LateTask
from coffre.databases.postgresql.load import LoadTask
from coffre.databases.postgresql.readback import CompareTask
from coffre.databases.postgresql.target import Source, Target
from coffre.databases.postgresql.tools import Tools
from coffre.databases.registration import Registration
from coffre.databases.registry import Registry
from coffre.errors import ObjectMissingError, UnknownDatabaseError
from coffre.events.backup import BackupRequest
from coffre.events.restore import RestoreRequest
from coffre.events.verify import ProveRequest, VerifyRequest
from coffre.ids import BackupType
from coffre.notify.publisher import Publisher
from coffre.prove import run as prove
from coffre.prove.job import Services as ProveServices
from coffre.restore import run as restore
from coffre.restore import tables
from coffre.restore.job import Services as RestoreServices
from coffre.results import BackupResult, RestoreResult, VerifyResult
from coffre.vault.keys import SealKeys
from coffre.vault.manifest import Manifest
from coffre.vault.reader import load_manifest
from coffre.vault.sealing import handed_over
from coffre.vault.ticket import TicketReader
from coffre.verify import run as verify
from coffre.verify.job import Services as VerifyServices
from coffre.verify.read import ReadTask
from coffre.workers import Message, Task, WorkerPool
from tests.fakes.kms import MemoryKms
from tests.fakes.store import START, MemoryStore

SECONDS = 300
DATABASE = "shop"


class ServedStore(MemoryStore):
    """A store in memory whose presigned URLs work: a small server on this machine answers them.

    Use as a context manager.  Any URL needs the signature, which is `signature`.
    """

    signature = "signature-of-the-url"

    def __init__(self) -> None:
        super().__init__()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        """Where the server listens: ``host:port``."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def presigned(self, key: str, *, seconds: int, version: str | None = None) -> str:  # noqa: ARG002
        """A URL that works while the server runs."""
        return f"http://{self.address}/{quote(key)}?version={version or ''}&signature={self.signature}"

    def answer(self, key: str, version: str | None) -> tuple[int, bytes, int]:
        """The status, the body, and the length that is announced for it."""
        try:
            body = self.get(key, version).read()
        except ObjectMissingError:
            return 404, b"", 0
        return 200, body, len(body)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                status, body, length = 403, b"", 0
                if query.get("signature") == [store.signature]:
                    version = query.get("version", [None])[0]
                    status, body, length = store.answer(unquote(parts.path.removeprefix("/")), version)
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        return Handler


class InProcessPool:
    """The twin of a `WorkerPool` whose tasks run here, one item after the other."""

    def __init__(self, tasks: Sequence[Task], tick: Callable[[], None]) -> None:
        self._tasks = tasks
        self._tick = tick

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def map(
        self, items: Iterable[Message], *, is_short: Callable[[Message], bool] = lambda _: False
    ) -> Iterator[tuple[Message, Message]]:
        """Give the items to the tasks by turns."""
        del is_short
        for number, item in enumerate(items):
            self._tick()
            yield item, self._tasks[number % len(self._tasks)].run(item)

    def finish(self) -> list[Message]:
        """The tasks' last answers."""
        return [task.finish() for task in self._tasks]


class _Silent:
    """Takes every call and does nothing: a catalogue, or a publisher, that nobody looks at."""

    def restores(self, _: str) -> Iterator[Any]:
        """No history."""
        return iter(())

    def plans(self, _: str) -> Self:
        """Plans that don't expire."""
        return self

    def offer(self, *_: object) -> str:
        """One of them."""
        return ""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class Registrations:
    """A registry of one database, or of none: each backup is then proven."""

    def __init__(self, registration: Registration | None = None) -> None:
        self._registration = registration

    def get(self, name: str) -> Registration:
        if self._registration is None:
            raise UnknownDatabaseError(f"{name} is not registered")
        return self._registration


class Verbs:
    """Backup, verify with proof, and restore against one store.

    Parameters
    ----------
    tools_root, scratch:
        The fixtures ``postgres_root`` and ``scratch_root``.
    catalogue:
        By default one that forgets everything.
    """

    def __init__(
        self, store: MemoryStore, tools_root: Path, scratch: Path, catalogue: Catalogue | None = None
    ) -> None:
        self.store = store
        self._root = tools_root
        self._scratch = scratch
        self._catalogue = catalogue or cast("Catalogue", _Silent())
        self._publisher = cast("Publisher", _Silent())
        self.kms = MemoryKms()
        self.keys = SealKeys(lambda _: self.kms)
        self.scratch_bytes = 10 << 30
        """What a proof may fill."""

    def backup(
        self,
        target: Target,
        *,
        kind: BackupType = "manual",
        time: datetime = START,
        database: str = DATABASE,
        seal_key: str | None = None,
    ) -> BackupResult:
        """Take the backup that is due at ``time``."""
        services = BackupServices(
            store=self.store,
            keys=self.keys,
            catalogue=self._catalogue,
            publisher=self._publisher,
            tools=Tools(self._root),
            scratch=self._scratch,
            max_run_seconds=SECONDS,
            start_workers=self._start_workers,
        )
        request = BackupRequest(type=kind, scheduled_time=time, database=database)
        registration = Registration(secret="none", seal_key=seal_key)
        return backup.run(request, registration, Source(target), services, seconds=SECONDS)

    def verify(
        self,
        *,
        backup_id: str = "latest",
        database: str = DATABASE,
        registration: Registration | None = None,
        upgrade_to: int | None = None,
        once_a_day: bool = False,
    ) -> VerifyResult:
        """Verify and prove a backup; the store must be a running `ServedStore`."""
        services = VerifyServices(
            store=self.store,
            keys=self.keys,
            catalogue=self._catalogue,
            publisher=self._publisher,
            registry=cast("Registry", Registrations(registration)),
            scratch=self._scratch,
            max_run_seconds=SECONDS,
            start_workers=self._start_workers,
            invoke_prove=lambda event, _: self._prove(event),
        )
        request = VerifyRequest(
            database=database, backup_id=backup_id, upgrade_to=upgrade_to, once_a_day=once_a_day
        )
        return verify.run(request, services, seconds=SECONDS)

    def restore(
        self, target: Target, *, backup_id: str = "latest", database: str = DATABASE, **more: Any
    ) -> RestoreResult:
        """Make a plan and run it; ``more`` goes into the request."""
        services = self.restore_services()
        request = RestoreRequest(
            action="plan", database=database, backup=backup_id, target_secret="none", **more
        )
        kind = tables if request.mode == "tables" else restore
        token = kind.plan(request, target, services, seconds=SECONDS).token
        confirmed = request.model_copy(update={"action": "run", "token": token})
        return kind.run(confirmed, target, services, seconds=SECONDS)

    def restore_services(self) -> RestoreServices:
        """What a restore works with."""
        return RestoreServices(
            store=self.store,
            keys=self.keys,
            catalogue=self._catalogue,
            publisher=self._publisher,
            registry=cast("Registry", Registrations()),
            tools=Tools(self._root),
            scratch=self._scratch,
            max_run_seconds=SECONDS,
            start_workers=self._start_workers,
            take_backup=lambda _, __: {},
        )

    def manifest(self, *, backup_id: str = "latest", database: str = DATABASE) -> Manifest:
        """A backup's manifest."""
        return load_manifest(self.store, database, backup_id)[0]

    def _prove(self, event: dict[str, object]) -> dict[str, object]:
        services = ProveServices(self._root, self._scratch, self.scratch_bytes, self._start_workers)
        return prove.run(ProveRequest.model_validate(event), services).model_dump()

    def _start_workers(self, setup: Sequence[Message], tick: Callable[[], None]) -> WorkerPool:
        return cast("WorkerPool", InProcessPool([self._task(message) for message in setup], tick))

    def _task(self, setup: Message) -> Task:
        if setup["task"] == "compare":
            return CompareTask(setup)
        if setup["task"] == "late":
            return LateTask(setup)
        seal = handed_over(setup["seal"])
        store = self.store.with_seal(seal)
        if setup["task"] == "capture":
            return CaptureTask(setup, store)
        if setup["task"] == "read":
            return ReadTask(store)
        return LoadTask(setup, TicketReader(Path(setup["urls"]), seal) if "urls" in setup else store)


def export(store: MemoryStore, folder: Path) -> None:
    """Write the visible objects as files, as ``aws s3 sync`` would."""
    for key in store.keys():  # noqa: SIM118 - not a mapping
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.get(key).read())


def fill(store: MemoryStore, folder: Path) -> None:
    """Put the files that `export` wrote into a store."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.put(str(path.relative_to(folder)), path.read_bytes())


def plain(body: bytes) -> Iterator[bytes]:
    """What anybody can make of an object: its bytes, and what unpacks."""
    yield body
    try:
        yield zstandard.ZstdDecompressor().decompressobj().decompress(body)
    except zstandard.ZstdError:
        return
