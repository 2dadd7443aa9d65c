"""Whatever ends a backup in the middle: a code, no manifest, nothing held, and the next run works."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from coffre.backup import job, task
from coffre.databases.postgresql import snapshot
from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Program, Tools
from coffre.errors import (
    ConnectionLostError,
    DeadlineExceededError,
    DiskFullError,
    SafetyBackupImpossibleError,
    ToolFailedError,
    WaitersPresentError,
    WorkerFailedError,
)
from coffre.notify import machines
from coffre.workers import Message, WorkerPool
from tests.faults.conftest import CONTENT, TABLES, Desk, InterruptedPool
from tests.support.disk import small_disk
from tests.support.postgres import create, customer_server, sql, target
from tests.support.stack import handed_over
from tests.support.vault import InProcessPool
from tests.support.waiting import soon

MINE = "application_name LIKE 'coffre/%'"


def interrupted(happening: Callable[[], object]) -> Callable[..., InterruptedPool]:
    """What starts workers in the midst of whose work something happens."""

    def start(setup: Any, tick: Any) -> InterruptedPool:
        return InterruptedPool([sys.executable, "-m", "coffre.worker"], handed_over(setup), tick, happening)

    return start


def tools_with(folder: Path, postgres_root: Path, script: str) -> Tools:
    """The programs of the layer, with a shell script in the place of pg_dump 16."""
    programs = folder / "16" / "bin"
    programs.mkdir(parents=True)
    real = postgres_root / "16" / "bin"
    (programs / "pg_restore").symlink_to(real / "pg_restore")
    (programs / "pg_dump").write_text(f"#!/bin/sh\n{script.format(real=real / 'pg_dump')}\n")
    (programs / "pg_dump").chmod(0o755)
    return Tools(folder)


@dataclass(frozen=True)
class Dump:
    """pg_dump, which runs beside the workers, and so before or after what interrupts them.

    Attributes
    ----------
    tools:
        The programs.
    first:
        Whether it has ended before anything happens; otherwise it begins afterwards.
    """

    tools: Tools
    first: bool
    _sign: Path

    @classmethod
    def made(cls, folder: Path, postgres_root: Path, *, first: bool) -> Dump:
        sign = folder / "sign"
        script = f'"{{real}}" "$@"; code=$?; touch "{sign}"; exit $code'
        if not first:
            script = f'while ! test -e "{sign}"; do sleep 0.02; done; exec "{{real}}" "$@"'
        return cls(tools_with(folder, postgres_root, script), first, sign)

    def beside(self, happening: Callable[[], object]) -> Callable[[], None]:
        """What happens, in this order."""

        def happen() -> None:
            if self.first:
                soon(self._sign.exists, "pg_dump's end")
            happening()
            self._sign.touch()

        return happen


@pytest.fixture(params=[True, False], ids=["after pg_dump", "before pg_dump"])
def dump(request: pytest.FixtureRequest, tmp_path: Path, postgres_root: Path) -> Dump:
    """Whichever order: a slow machine decides for another one than a fast one."""
    return Dump.made(tmp_path / "tools", postgres_root, first=request.param)


@pytest.mark.parametrize(
    "script",
    [
        "exit 1",
        '"{real}" "$@" | head -c 3000; kill -9 $$',
        '"{real}" "$@" | head -c 3000; exit 0',
        "exit 0",
    ],
    ids=["fails at once", "is killed midway", "is cut and says all is well", "says nothing"],
)
def test_a_pg_dump_that_dies_or_lies_makes_no_backup(
    desk: Desk, postgres_root: Path, tmp_path: Path, script: str
) -> None:
    with pytest.raises(ToolFailedError):
        desk.backup(tools=tools_with(tmp_path / "tools", postgres_root, script))
    desk.assert_failed_cleanly("tool-failed")
    desk.assert_next_run_succeeds()


def test_a_pg_dump_that_fails_ends_the_backup_while_rows_are_still_read(
    desk: Desk, postgres_root: Path, tmp_path: Path
) -> None:
    def without_end(setup: Any, tick: Any) -> WorkerPool:
        return WorkerPool([sys.executable, "-c", "input(); import time; time.sleep(60)"], setup, tick)

    tools = tools_with(tmp_path / "tools", postgres_root, "exit 1")
    with pytest.raises(ToolFailedError):
        desk.backup(tools=tools, start_workers=without_end)
    desk.assert_failed_cleanly("tool-failed")


class BehindDdl(Tools):
    """The same programs, but pg_dump finds an ALTER TABLE in the queue for a table's locks before it."""

    def __init__(self, root: Path, source: Target, threads: ThreadPoolExecutor) -> None:
        super().__init__(root)
        self._source = source
        self._threads = threads

    def run(self, name: Program, *arguments: Any, **options: Any) -> bytes:
        """Run a program; pg_dump as soon as somebody waits."""
        if name != "pg_dump":
            return super().run(name, *arguments, **options)
        self._threads.submit(sql, self._source, "SET lock_timeout = '60s'", "ALTER TABLE t0 ADD COLUMN y int")
        soon(lambda: sql(self._source, "SELECT FROM pg_locks WHERE NOT granted"), "a session that waits")
        return super().run(name, *arguments, **options)


def test_ddl_that_waits_while_the_schema_is_dumped_may_wait_as_long_as_the_policy_says(
    desk: Desk, postgres_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pg_dump, which queues behind it, isn't the first to give up."""
    monkeypatch.setattr(snapshot, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(job, "LET_GO_SECONDS", 120.0)  # however late the holder looks
    with ThreadPoolExecutor() as threads, pytest.raises(WaitersPresentError):
        desk.backup(tools=BehindDdl(postgres_root, desk.source, threads), waiters=6)
    desk.assert_failed_cleanly("waiters-present")
    desk.assert_next_run_succeeds()


def test_workers_are_as_patient_as_the_policy_says(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a stronger lock makes them wait, too, and it is the holder that lets go."""
    seen: list[str] = []
    real = task.import_snapshot

    def import_snapshot(session: Session, held: str) -> None:
        seen.append(session.value("SHOW lock_timeout"))
        real(session, held)

    def here(setups: Sequence[Message], tick: Callable[[], None]) -> WorkerPool:
        tasks = [task.CaptureTask(setup, desk.services.store) for setup in setups]
        return cast("WorkerPool", InProcessPool(tasks, tick))

    monkeypatch.setattr(task, "import_snapshot", import_snapshot)
    desk.backup(start_workers=here, waiters=30)
    assert set(seen) == {"40s"}


def test_a_worker_that_is_killed_makes_no_backup(desk: Desk, dump: Dump) -> None:
    def kill() -> None:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        workers = [pid for pid in children if b"coffre.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(int(workers[0]), signal.SIGKILL)

    with pytest.raises(WorkerFailedError):
        desk.backup(tools=dump.tools, start_workers=interrupted(dump.beside(kill)))
    desk.assert_failed_cleanly("worker-failed")
    desk.assert_next_run_succeeds()


def sessions(desk: Desk, order: str) -> str:
    """SQL that selects the process ids of the sessions on the source, in the order in which they came."""
    return (
        f"FROM (SELECT pid FROM pg_stat_activity WHERE datname = '{desk.name}' "
        f"AND {MINE} ORDER BY backend_start {order} LIMIT 1) AS s"
    )


def test_a_worker_whose_session_is_ended_makes_no_backup(desk: Desk, dump: Dump) -> None:
    def terminate() -> None:
        sql(target(desk.server, "postgres"), f"SELECT pg_terminate_backend(pid) {sessions(desk, 'DESC')}")

    with pytest.raises(ConnectionLostError):
        desk.backup(tools=dump.tools, start_workers=interrupted(dump.beside(terminate)))
    desk.assert_failed_cleanly("connection-lost")
    desk.assert_next_run_succeeds()


def test_a_holder_whose_session_is_ended_makes_no_backup_even_if_the_rest_ends_well(
    desk: Desk, dump: Dump
) -> None:
    """Its locks went with it, so what was read afterwards may have been truncated before (A01, A03)."""
    reading = f"SELECT count(*) FROM pg_stat_activity WHERE {MINE} AND backend_xmin IS NOT NULL"

    def terminate_and_truncate() -> None:
        there = target(desk.server, "postgres")
        soon(lambda: sql(there, reading) == [[3]], "both workers, which need no holder then")
        assert sql(there, f"SELECT pg_terminate_backend(pid, 60000) {sessions(desk, 'ASC')}") == [[True]]
        sql(desk.source, f"TRUNCATE t{TABLES - 1}")

    with pytest.raises(ConnectionLostError, match="the snapshot was lost"):
        desk.backup(tools=dump.tools, start_workers=interrupted(dump.beside(terminate_and_truncate)))
    desk.assert_failed_cleanly("connection-lost")


def test_a_database_dropped_in_the_middle_makes_no_backup(desk: Desk, dump: Dump) -> None:
    def drop() -> None:
        sql(target(desk.server, "postgres"), f'DROP DATABASE "{desk.name}" WITH (FORCE)')

    with pytest.raises(ConnectionLostError, match="the snapshot was lost"):
        desk.backup(tools=dump.tools, start_workers=interrupted(dump.beside(drop)))
    desk.assert_failed_cleanly("connection-lost")
    create(desk.server, desk.name, *(CONTENT.format(n=n) for n in range(TABLES)))
    desk.assert_next_run_succeeds()


def test_a_server_stopped_in_the_middle_makes_no_backup(
    desk: Desk, dump: Dump, postgres_root: Path, scratch_root: Path
) -> None:
    with customer_server(postgres_root, 16, scratch_root) as short_lived:
        source = create(short_lived, desk.name, *(CONTENT.format(n=n) for n in range(TABLES)))
        stopped = interrupted(dump.beside(short_lived.stop))
        with pytest.raises(ConnectionLostError, match="the snapshot was lost"):
            desk.backup(target=source, tools=dump.tools, start_workers=stopped)
    desk.assert_failed_cleanly("connection-lost")
    desk.assert_next_run_succeeds()


class Clock:
    """Tells a run how much time it has left."""

    def __init__(self) -> None:
        self.is_late = False

    def monotonic(self) -> float:
        """The time, or one at which no run may go on."""
        return time.monotonic() + (3600 if self.is_late else 0)

    def strike(self) -> None:
        """Let all of a run's time be over."""
        self.is_late = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A run's clock."""
    made = Clock()
    monkeypatch.setattr(job, "time", made)
    return made


@pytest.fixture
def late(clock: Clock, tmp_path: Path, postgres_root: Path) -> dict[str, Any]:
    """What lets a run's time be over in the midst of its rows; pg_dump, which has less of it, was in time."""
    dump = Dump.made(tmp_path / "tools", postgres_root, first=True)
    return {"tools": dump.tools, "start_workers": interrupted(dump.beside(clock.strike))}


def test_a_run_that_comes_to_its_deadline_makes_no_backup(
    desk: Desk, clock: Clock, late: dict[str, Any]
) -> None:
    with pytest.raises(DeadlineExceededError, match="`runs`"):
        desk.backup(**late)
    desk.assert_failed_cleanly("deadline-exceeded")
    clock.is_late = False
    desk.assert_next_run_succeeds()


def test_a_run_that_outgrows_its_function_is_made_by_the_state_machine(
    desk: Desk, late: dict[str, Any]
) -> None:
    """It was expected to fit; the lease is free for the machine, and nobody is told of a failure."""
    client, machine = desk.stack.client("stepfunctions"), desk.stack.info["outputs"]["BackupMachine"]
    answer = desk.backup(**late, start_machine=partial(machines.start, client, machine))
    assert answer.status == "started"
    assert "ran out of time" in answer.where
    entry = soon(lambda: next(desk.stack.catalogue.backups(desk.name, status="completed"), None), "its end")
    assert (entry.backup_id, entry.rows) == (answer.backup_id, TABLES * 3000)
    assert "Backup Failed" not in [event.type for event in desk.stack.events(desk.name)]


def test_a_safety_backup_that_outgrows_its_function_is_refused_and_left_to_nobody(
    desk: Desk, late: dict[str, Any]
) -> None:
    """A restore waits for it."""
    started: list[str] = []
    with pytest.raises(SafetyBackupImpossibleError):
        desk.backup(kind="safety", **late, start_machine=lambda name, _: started.append(name))
    assert not started
    desk.assert_failed_cleanly("safety-backup-impossible")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Scratch space of 256 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    with small_disk(folder, "256k") as mounted:
        if not mounted:
            pytest.skip("only root may mount a small file system")
        yield folder


@pytest.mark.parametrize("kib_left", [0, 4, 8])
def test_a_disk_that_fills_makes_no_backup(desk: Desk, tiny_disk: Path, kib_left: int) -> None:
    (tiny_disk / "filler").write_bytes(b"x" * ((256 - kib_left) << 10))
    with pytest.raises(DiskFullError):
        desk.backup(scratch=tiny_disk)
    desk.assert_failed_cleanly("disk-full")
    assert [path.name for path in tiny_disk.iterdir()] == ["filler"]
    desk.assert_next_run_succeeds()


def test_a_worker_that_meets_a_full_disk_says_so(desk: Desk, tiny_disk: Path) -> None:
    sql(desk.source, "CREATE TABLE wide AS SELECT repeat('a row above what is kept in memory ', 1 << 20)")
    with pytest.raises(DiskFullError):
        desk.backup(scratch=tiny_disk)
    desk.assert_failed_cleanly("disk-full")
