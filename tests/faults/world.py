"""A vault, a catalogue and a source, all behind one injector, and what must hold whatever failed."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from coffre.backup import run as backups
from coffre.backup.job import Services as BackupServices
from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.target import Source, Target
from coffre.databases.postgresql.tools import Tools
from coffre.databases.registration import Registration, Retention
from coffre.databases.registry import Registry
from coffre.errors import CoffreError, UnknownBackupError
from coffre.events.backup import BackupRequest
from coffre.events.restore import RestoreRequest
from coffre.events.verify import VerifyRequest
from coffre.ids import utc_now
from coffre.notify.publisher import Publisher
from coffre.restore import run as restore
from coffre.restore.job import Services as RestoreServices
from coffre.results import BackupResult, Compared, ProofReport, RestorePlan, RestoreResult, VerifyResult
from coffre.rotate import run as rotate
from coffre.vault.keys import SealKeys
from coffre.vault.layout import Layout
from coffre.vault.locate import fetch
from coffre.vault.manifest import Manifest
from coffre.vault.parts import Chunk, End, Relation
from coffre.vault.reader import list_backups, load_manifest, read_part
from coffre.verify import run as verify
from coffre.verify.job import Services as VerifyServices
from coffre.workers import Message, WorkerPool
from tests.fakes.dynamodb import MemoryDynamo, MemoryEvents
from tests.faults.injection import FaultyClient, FaultyStore, Injector, Way, in_a_process
from tests.support.vault import InProcessPool, Registrations, Verbs

DATABASE = "shop"
LAYOUT = Layout(DATABASE)
SECONDS = 120
KEEP_ONE = Retention(hourly=0, daily=0, weekly=0, monthly=0, keep_last=1)


class Registered:
    """A registry that knows the database."""

    def __init__(self, prove: str = "every") -> None:
        self._registration = Registration.model_validate({"secret": "-", "prove": prove})

    def get(self, _name: str) -> Registration:
        """The registration."""
        return self._registration


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    result:
        What it answered; None if it failed or was killed.
    error:
        What it raised.
    killed, survived:
        Whether a process that was to be killed was, or ended before.
    """

    result: Any = None
    error: CoffreError | None = None
    killed: bool = False
    survived: bool = False


class Workers(InProcessPool):
    """Workers in this process, whose sessions end with them as a killed process's do."""

    def __exit__(self, *_: object) -> None:
        for task in self._tasks:
            for holder in (task, getattr(task, "_capture", None)):
                session = getattr(holder, "_session", None)
                if isinstance(session, Session):
                    session.close()


def _no_backup(event: dict[str, object], seconds: float) -> dict[str, object]:
    raise AssertionError(f"a restore into a new database takes no backup: {event}, {seconds}")


class World:
    """Services in memory.  ``clock`` is the time of catalogue, store and rotation."""

    def __init__(self, tools_root: Path, scratch: Path) -> None:
        self.injector = Injector()
        self.store = FaultyStore(self.injector)
        self.dynamo, self.events = MemoryDynamo(), MemoryEvents()
        self.executions_ended: set[str] = set()
        self.offset = timedelta()
        self.restore_seconds = float(SECONDS)
        self.catalogue = Catalogue(FaultyClient("dynamodb", self.dynamo, self.injector), "table", self.clock)
        client = FaultyClient("events", self.events, self.injector)
        self.publisher = Publisher(client, "default", "stack")
        self.scratch = scratch
        self._tools = Tools(tools_root)
        self._verbs = Verbs(self.store, tools_root, scratch)
        self.kms = self._verbs.kms
        self.keys = SealKeys(lambda _: FaultyClient("kms", self.kms, self.injector))

    def _start_workers(self, setup: Sequence[Message], tick: Callable[[], None]) -> WorkerPool:
        return cast("WorkerPool", Workers([self._verbs._task(message) for message in setup], tick))

    def clock(self) -> datetime:
        """The time in this world."""
        self.store.now = utc_now() + self.offset
        return self.store.now

    # What it holds

    def state(self) -> bytes:
        """Everything that outlives a run."""
        return pickle.dumps((self.store.state(), self.dynamo.items, self.events.entries))

    def reset(self, state: bytes) -> None:
        """Hold what `state` gave, and let nothing fail."""
        self.injector.disarm()
        store, self.dynamo.items, self.events.entries = pickle.loads(state)  # noqa: S301 - our own
        self.store.restore_state(store)

    # Verbs

    def backup(
        self, target: Target, time: datetime, *, seconds: float = SECONDS, **decisions: Any
    ) -> BackupResult:
        """The backup that is due at ``time``; ``decisions`` are the registration's."""
        self.clock()
        request = BackupRequest(type="daily", scheduled_time=time, database=DATABASE)
        registration = Registration(secret="-", **decisions)
        return backups.run(request, registration, Source(target), self.backup_services(), seconds=seconds)

    def backup_services(self) -> BackupServices:
        """What a backup works with."""
        return BackupServices(
            self.store,
            self.keys,
            self.catalogue,
            self.publisher,
            self._tools,
            self.scratch,
            3600,
            self._start_workers,
            is_running=lambda execution: execution not in self.executions_ended,
        )

    def verify(self, backup_id: str, *, prove: str = "every") -> VerifyResult:
        """Read a backup back; the proof itself is played, and passes."""
        self.clock()

        def proof(event: dict[str, object], _: float) -> dict[str, object]:
            report = ProofReport(
                verdict="proven", reasons=[], compared=Compared(tables=2), server_version="16", phases={}
            )
            return report.model_dump()

        services = VerifyServices(
            self.store,
            self.keys,
            self.catalogue,
            self.publisher,
            cast("Registry", Registered(prove)),
            self.scratch,
            3600,
            self._start_workers,
            proof,
        )
        request = VerifyRequest(database=DATABASE, backup_id=backup_id)
        return verify.run(request, services, seconds=SECONDS)

    def rotate(self, retention: Retention = KEEP_ONE) -> Any:
        """One rotation; what it reports, or the text of its error."""
        self.clock()
        services = rotate.Services(self.store, self.catalogue, self.publisher, 3600, self.clock)
        return rotate.run({DATABASE: retention}, services, dry_run=False, seconds=600)

    def _restores(self) -> RestoreServices:
        self.clock()
        return RestoreServices(
            self.store,
            self.keys,
            self.catalogue,
            self.publisher,
            cast("Registry", Registrations()),
            self._tools,
            self.scratch,
            3600,
            self._start_workers,
            _no_backup,
        )

    def plan(self, target: Target, backup_id: str) -> RestorePlan:
        """What a restore into ``target`` would do."""
        request = RestoreRequest(action="plan", database=DATABASE, backup=backup_id, target_secret="-")
        return restore.plan(request, target, self._restores(), seconds=self.restore_seconds)

    def restore(self, target: Target, backup_id: str, token: str = "") -> RestoreResult:
        """Restore into ``target``, after a plan unless its token is given."""
        token = token or self.plan(target, backup_id).token
        confirmed = RestoreRequest(
            action="run", database=DATABASE, backup=backup_id, target_secret="-", token=token
        )
        return restore.run(confirmed, target, self._restores(), seconds=self.restore_seconds)

    def attempt(self, run: Callable[[], Any], number: int, way: Way) -> Outcome:
        """A run whose call ``number`` fails; in a process of its own if that is to be killed.

        Anything but an error of ours goes on: it is a defect.
        """
        self.injector.arm(number, way)
        try:
            if not way.kills:
                return Outcome(result=run())
            return self.killed(run)
        except CoffreError as error:
            return Outcome(error=error)
        finally:
            self.injector.on_kill = lambda: None

    def killed(self, run: Callable[[], Any], started: Callable[[int], None] = lambda _: None) -> Outcome:
        """A run in a process of its own that doesn't survive; what it did to the services stays."""
        left = in_a_process(run, self.injector, self._dying, self.scratch.parent / "state", started)
        if left is None:
            return Outcome(survived=True)
        state, calls = pickle.loads(left)  # noqa: S301 - our own
        self.reset(state)
        self.injector.calls = calls
        return Outcome(killed=True)

    def _dying(self) -> bytes:
        """What a process that is killed leaves: what the services hold, and what was called."""
        return pickle.dumps((self.state(), self.injector.calls))

    # What must hold

    def backups(self) -> list[str]:
        """The ids of all backups."""
        return list(list_backups(self.store, DATABASE))

    def manifest(self, backup_id: str) -> Manifest | None:
        """A backup's manifest; None if there is no such backup."""
        try:
            return load_manifest(self.store, DATABASE, backup_id)[0]
        except UnknownBackupError:
            return None

    def content(self, backup_id: str) -> dict[str, tuple[int, str]]:
        """Rows and digest of each relation, after everything that the manifest names was read."""
        manifest = self.manifest(backup_id)
        assert manifest is not None
        found: dict[str, tuple[int, str]] = {}
        relation = ""
        for file in (*manifest.files, *manifest.refs):
            fetch(self.store, file.key, size=file.size, sha256=file.sha256).close()
        for record in (record for part in manifest.parts for record in read_part(self.store, part)):
            if isinstance(record, Relation):
                relation = record.label
            elif isinstance(record, Chunk):
                fetch(self.store, record.key, size=record.stored, sha256=record.sha256).close()
            elif isinstance(record, End):
                found[relation] = (record.rows, record.digest)
        return found

    def versions(self) -> dict[tuple[str, str], str]:
        """The hash of every version that holds bytes, by key and version."""
        return {
            (v.key, v.version): hashlib.sha256(self.store._find(v.key, v.version).body).hexdigest()
            for v in self.store.versions("")
            if not v.marker
        }

    def lease_ends(self) -> datetime | None:
        """When the database's lease ends; None if nobody ever had it."""
        item = self.dynamo.items.get((f"DB#{DATABASE}", "LEASE"))
        return datetime.fromisoformat(item["deadline"]["S"]) if item else None

    def status(self, backup_id: str) -> str:
        """What the catalogue says of a backup."""
        entry = self.catalogue.backup(DATABASE, backup_id)
        return entry.status if entry else ""
