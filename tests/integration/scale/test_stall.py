"""A backup ends when nothing moves, and not because one COPY takes longer than a backup may stand still."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coffre.backup import stall
from coffre.backup.hold import hold
from coffre.backup.job import VERSION, Job, Services
from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.copy import copy_out
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Source, Target
from coffre.databases.registration import Registration
from coffre.errors import CoffreError
from coffre.events.backup import BackupRequest
from coffre.ids import backup_id, moment, utc_now
from coffre.notify.waiting import TaskToken
from coffre.results import HolderResult
from coffre.vault.rows import DigestSink
from tests.fakes.dynamodb import MemoryDynamo
from tests.integration.scale.desk import ROWS, soon
from tests.support.postgres import create, sql

ATTEMPT = "a" * 12
SILENT = timedelta(minutes=2)
FLOWING = "SELECT repeat('x', 9000), pg_sleep(0.01) FROM generate_series(1, 100000)"
STUCK = "SELECT pg_sleep(600)"
READER = "stalling_reader"
READING = "FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active'"


class Waiting:
    """A token for whose answer somebody waits."""

    def __getattr__(self, _: str) -> Any:
        return lambda *_: True


class Run:
    """A backup that may stand still for one minute, and has told of nothing for two."""

    def __init__(self, source: Target) -> None:
        scheduled, self._begun = utc_now(), True
        self._catalogue = Catalogue(MemoryDynamo(), "table", self._now)
        self.ledger = self._catalogue.ledger("shop", ATTEMPT)
        name = backup_id("shop", "daily", scheduled)
        self.ledger.open(name, scheduled + timedelta(hours=1), version=VERSION)
        self.ledger.planned("plan", batches=1, total=1)
        self._begun = False
        request = BackupRequest(type="daily", scheduled_time=scheduled, database="shop")
        registration = Registration(secret="-", stall_minutes=1)
        ends = time.monotonic() + 600
        self._job = Job(
            request,
            "shop",
            registration,
            Source(replace(source, user=READER)),
            name,
            ATTEMPT,
            scheduled,
            ends,
        )

    def _now(self) -> datetime:
        return utc_now() - (SILENT if self._begun else timedelta())

    def hold(self) -> HolderResult:
        """Hold its snapshot until it is over."""
        services = cast("Services", SimpleNamespace(catalogue=self._catalogue))
        token = cast("TaskToken", Waiting())
        return hold(self._job, services, token, seconds=600, pass_on_seconds=300)

    def has_moved(self) -> bool:
        """Whether it has told of something since."""
        state = self.ledger.read()
        return state is not None and moment(state.moved) > utc_now() - SILENT / 2


@pytest.fixture(scope="module")
def source(server: EphemeralServer) -> Target:
    """A database, as its owner; backups of it have a role with no other rights than they need."""
    return create(server, "stalling", ROWS, f"CREATE ROLE {READER} LOGIN; GRANT pg_read_all_data TO {READER}")


@pytest.fixture
def run(source: Target, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A backup whose holder asks the source often."""
    monkeypatch.setattr(stall, "ASK_SECONDS", 0.5)
    return Run(source)


@contextmanager
def reading(source: Target, query: str) -> Iterator[None]:
    """Read rows as a worker does, while the block runs."""

    def read() -> None:
        worker = open_session(replace(source, user=READER), seconds=600, application=f"coffre/{ATTEMPT}")
        with suppress(CoffreError), worker as session:
            copy_out(session, f"COPY ({query}) TO STDOUT", DigestSink())

    with ThreadPoolExecutor() as threads:
        threads.submit(read)
        soon(lambda: sql(source, f"SELECT {READING}"), "a COPY")
        yield
        sql(source, f"SELECT pg_terminate_backend(pid) {READING}")


def test_rows_that_flow_within_one_copy_keep_a_backup_alive(
    run: Run, source: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, before = stall.copied_bytes, list[int]()

    def copied(session: Session, application: str) -> int:
        """At another moment than the one before: rows have flowed, on however slow a machine."""
        soon(lambda: real(session, application) not in before, "rows")
        before.append(real(session, application))
        return before[-1]

    monkeypatch.setattr(stall, "copied_bytes", copied)
    with ThreadPoolExecutor() as threads, reading(source, FLOWING):
        holder = threads.submit(run.hold)
        soon(lambda: run.has_moved() or holder.done(), "a sign of life")
        run.ledger.fail()
        assert holder.result().ended == "abandoned", holder.result()


def test_a_copy_that_sends_nothing_does_not(run: Run, source: Target) -> None:
    with reading(source, STUCK):
        result = run.hold()
    assert (result.ended, result.code) == ("failed", "backup-stalled")
    assert not run.has_moved()
