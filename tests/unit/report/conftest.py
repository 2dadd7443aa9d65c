"""A database with a month behind it: catalogue and vault in memory, the rest the test's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from coffre.catalogue.entries import RestoreEntry
from coffre.catalogue.index import Catalogue
from coffre.databases.registration import Registration
from coffre.databases.registry import Registered
from coffre.errors import InvalidRegistrationError, UnknownDatabaseError
from coffre.events.base import Verdict
from coffre.events.report import ReportRequest
from coffre.ids import backup_id, stamp
from coffre.report.job import Services
from coffre.report.run import run
from coffre.report.scores import DayScore
from coffre.results import Finding, ReportResult, WrittenReport
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.store import MemoryStore
from tests.fakes.tables import TABLE
from tests.fakes.vault import put_backup, put_evidence

NAME = "shop"
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 2, 8, tzinfo=UTC)


@dataclass
class Heard:
    """A publisher that remembers."""

    events: list[tuple[str, Any]] = field(default_factory=list)

    def publish(self, detail_type: str, detail: Any) -> None:
        self.events.append((detail_type, detail))


@dataclass
class Registrations:
    """A registry."""

    known: dict[str, Registration] = field(default_factory=dict)
    invalid: dict[str, InvalidRegistrationError] = field(default_factory=dict)

    def get(self, name: str) -> Registration:
        if name not in self.known:
            raise UnknownDatabaseError(f"{name} isn't registered")
        return self.known[name]

    def all(self) -> Registered:
        return Registered(self.known, self.invalid)


@dataclass
class Recorded:
    """Health's scores, as CloudWatch kept them; an error instead, if there is one."""

    days: dict[date, DayScore] = field(default_factory=dict)
    error: Exception | None = None

    def daily(self, _: str, begins: datetime, ends: datetime) -> dict[date, DayScore]:
        if self.error is not None:
            raise self.error
        last = (ends - timedelta(microseconds=1)).date()
        return {day: score for day, score in self.days.items() if begins.date() <= day <= last}


class World:
    """What reports are made from; its clock stands where a test puts it."""

    def __init__(self, client: Any, table: str) -> None:
        self.store = MemoryStore(now=NOVEMBER)
        self.catalogue = Catalogue(client, table, lambda: self.store.now)
        self.heard, self.registry, self.scores = Heard(), Registrations(), Recorded()
        self.registry.known[NAME] = Registration(secret="s", rpo_hours=26, rto_minutes=10)
        services: dict[str, Any] = {
            "store": self.store,
            "catalogue": self.catalogue,
            "registry": self.registry,
            "publisher": self.heard,
            "scores": self.scores,
        }
        self.services = Services(**services, stack="local", now=lambda: self.store.now)

    def backup(
        self,
        moment: datetime,
        verdict: Verdict | None = "proven",
        reasons: tuple[Finding, ...] = (),
        text: str = "a row",
    ) -> str:
        """A backup of that moment, verified an hour later."""
        name = backup_id(NAME, "daily", moment)
        self.store.now = moment
        manifest, root = put_backup(self.store, name, [f"{text} {moment}\n".encode()], database=NAME)
        self.catalogue.complete(manifest, root)
        if verdict is not None:
            proof = put_evidence(self.store, manifest, root, verdict, moment + timedelta(hours=1))
            self.catalogue.verdict(proof.model_copy(update={"reasons": list(reasons)}))
        return name

    def restored(self, moment: datetime, seconds: float, kind: Any = "drill", **more: Any) -> None:
        """A restore that ended then."""
        entry = {"backup_id": "b", "status": "completed", "bytes": 30, **more}
        self.catalogue.record_restore(
            RestoreEntry(NAME, stamp(moment), kind, milliseconds=round(seconds * 1000), **entry)
        )

    def run(self, now: datetime = DECEMBER, **request: Any) -> ReportResult:
        """Ask for reports."""
        self.store.now = now
        return run(ReportRequest(**request), self.services)

    def report(self, month: str = "2026-11", now: datetime = DECEMBER) -> WrittenReport:
        """Ask for one."""
        (written,) = self.run(now, database=NAME, month=month).reports
        return written


@pytest.fixture
def world() -> World:
    """An empty vault and catalogue."""
    return World(MemoryDynamo(), TABLE)
