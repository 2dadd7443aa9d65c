"""A source with a database for each test, and backups in this process, where faults are easy to inject."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from coffre.backup import run as backups
from coffre.backup.job import Services
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Source, Target
from coffre.databases.postgresql.tools import Tools
from coffre.databases.registration import Registration
from coffre.events.backup import BackupRequest
from coffre.events.base import parse
from coffre.ids import BackupType
from coffre.results import BackupResult
from coffre.workers import Message, WorkerPool
from tests.faults.cases import CONTENT as VARIED
from tests.faults.world import World
from tests.support.postgres import create, customer_server, no_sessions_left, url
from tests.support.stack import Stack, start_workers

TABLES = 8
CONTENT = """
CREATE TABLE t{n} (id int PRIMARY KEY, body text);
INSERT INTO t{n} SELECT i, md5(i::text) || '{n}' FROM generate_series(1, 3000) i;
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """The customers' server."""
    with customer_server(postgres_root, 16, scratch_root) as started:
        yield started


@dataclass(frozen=True)
class Desk:
    """One registered database, ``name``, and backups of it that are run in this process.

    Attributes
    ----------
    services:
        As `coffre.wiring` makes them, for the local cloud.
    """

    stack: Stack
    server: EphemeralServer
    name: str
    source: Target
    services: Services

    def backup(
        self,
        *,
        kind: BackupType = "manual",
        seconds: float = 600,
        target: Target | None = None,
        waiters: int = 30,
        **changes: Any,
    ) -> BackupResult:
        """Back up with some of the services changed."""
        request = parse(BackupRequest, {**self.stack.request(self.name), "type": kind})
        services = replace(self.services, **changes)
        registration = Registration(secret="-", waiters=waiters)
        return backups.run(request, registration, Source(target or self.source), services, seconds=seconds)

    def assert_failed_cleanly(self, code: str) -> None:
        """After a backup that failed: nothing that looks like one, everything let go, everybody told."""
        assert self.stack.manifests(self.name) == []
        (entry,) = list(self.stack.catalogue.backups(self.name))
        assert (entry.status, entry.error_code) == ("failed", code)
        assert entry.error_message
        assert self.stack.lease_is_free(self.name)
        assert list(self.stack.catalogue.live_runs(self.name)) == []
        (event,) = self.stack.events(self.name)
        assert (event.type, event.detail["code"]) == ("Backup Failed", code)
        assert event.detail["advice"]
        assert no_sessions_left(self.server)

    def assert_next_run_succeeds(self) -> None:
        """A fault leaves nothing that stands in the way of the next run."""
        answer = self.backup()
        assert (answer.status, answer.rows) == ("completed", TABLES * 3000)
        assert len(self.stack.manifests(self.name)) == 1


@pytest.fixture
def desk(
    stack: Stack,
    server: EphemeralServer,
    postgres_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    """A database of some tables, registered so that its backups aren't proven by themselves."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    name = f"fault-{next(_numbers)}"
    source = create(server, name, *(CONTENT.format(n=n) for n in range(TABLES)))
    stack.register(name, url(server, name), prove="never")
    services = Services(
        store=stack.store,
        keys=stack.seal_keys,
        catalogue=stack.catalogue,
        publisher=stack.publisher,
        tools=Tools(postgres_root),
        scratch=tmp_path,
        max_run_seconds=3600,
        start_workers=start_workers,
    )
    return Desk(stack, server, name, source, services)


@pytest.fixture
def world(postgres_root: Path, tmp_path: Path) -> World:
    """A vault and a catalogue in memory, where each call can fail."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return World(postgres_root, scratch)


@pytest.fixture
def source(server: EphemeralServer) -> Target:
    """A small database with some of everything."""
    return create(server, f"source-{next(_numbers)}", VARIED)


class InterruptedPool(WorkerPool):
    """Workers that go on while something happens, once, after the first of them has answered."""

    def __init__(
        self,
        command: list[str],
        setup: list[Message],
        tick: Callable[[], None],
        happening: Callable[[], object],
    ) -> None:
        super().__init__(command, setup, tick)
        self._happening = happening

    def map(
        self, items: Any, *, is_short: Callable[[Message], bool] = lambda _: False
    ) -> Iterator[tuple[Message, Message]]:
        """As a pool does, with the interruption; items go out one by one, so that some are left by then."""
        del is_short
        for number, pair in enumerate(super().map(items)):
            if number == 0:
                self._happening()
            yield pair
