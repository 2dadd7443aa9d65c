"""Short ways to what tests of the state machine do again and again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from coffre.catalogue.entries import BackupEntry
from coffre.catalogue.ledger import Ledger, Progress
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError
from coffre.events.backup import MachineRun
from tests.support import waiting
from tests.support.postgres import create, sql, target, url
from tests.support.stack import Stack

ROWS = "CREATE TABLE kept AS SELECT n, repeat('x', 100) AS x FROM generate_series(1, 2000) n"
PAUSED_AT = 3
"""Busy sessions of others above which a backup of these tests waits; `busy` makes more of them."""

TABLES = 3
VIEWS_ALLOWED = """
SELECT set_config(name, '', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'"""
RELATED = f"""
DO $$ BEGIN FOR t IN 1..{TABLES} LOOP
  EXECUTE format('CREATE TABLE t%s AS SELECT n, md5(n::text) AS x FROM generate_series(1, 500) n', t);
  EXECUTE format('ALTER TABLE t%s ADD PRIMARY KEY (n)', t);
  EXECUTE format('CREATE INDEX ON t%s (x)', t);
END LOOP; END $$;
CREATE TABLE measured (at int, value text) PARTITION BY RANGE (at);
CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM (0) TO (100);
CREATE TABLE measured_2 PARTITION OF measured FOR VALUES FROM (100) TO (1000);
INSERT INTO measured SELECT n, n::text FROM generate_series(0, 300) n;
CREATE INDEX ON measured (at);
ALTER TABLE t1 ADD FOREIGN KEY (n) REFERENCES t2;
ALTER TABLE t2 ADD FOREIGN KEY (n) REFERENCES t1;
CREATE SEQUENCE counter; SELECT setval('counter', 77);
CREATE VIEW seen AS SELECT n, x FROM t3 GROUP BY n;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS c FROM seen;
CREATE INDEX ON counted (c);
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON t3 FOR EACH ROW EXECUTE FUNCTION touched();
COMMENT ON INDEX t1_x_idx IS 'ours';
GRANT SELECT ON t2 TO PUBLIC;
SELECT lo_from_bytea(0, 'large');
"""
"""What has rows, and what follows rows, each of some kind."""

T = TypeVar("T")


def soon(look: Callable[[], T | None], what: str) -> T:
    """The first thing that ``look`` finds; it asks servers, and not too often."""
    return waiting.soon(look, what, pause=0.3)


@contextmanager
def busy(server: EphemeralServer, sessions: int) -> Iterator[None]:
    """Sessions that are at work as long as the block runs."""
    where, name = target(server, "postgres"), f"sleeper {time.monotonic()}"

    def sleep() -> None:
        with suppress(CoffreError), open_session(where, seconds=3600, application=name) as session:
            session.run("SELECT pg_sleep(3600)")

    seen = f"SELECT pid FROM pg_stat_activity WHERE application_name = '{name}' AND state = 'active'"
    with ThreadPoolExecutor(sessions) as threads:
        for _ in range(sessions):
            threads.submit(sleep)
        try:
            soon(lambda: len(sql(where, seen)) == sessions, "sessions")
            yield
        finally:
            ending = f"SELECT pg_terminate_backend(pid) FROM ({seen}) s"
            soon(lambda: not sql(where, ending), "their end")


@dataclass(frozen=True)
class Run:
    """A backup that was started on the state machine."""

    stack: Stack
    database: str
    backup_id: str
    execution: str
    request: dict[str, Any]

    def attempt(self, tries: int = 1) -> MachineRun:
        """What the functions are told of an attempt."""
        return MachineRun(**self.request, backup_id=self.backup_id, execution=self.execution, tries=tries)

    def ledger(self, tries: int = 1) -> Ledger:
        """The ledger of an attempt."""
        return self.stack.catalogue.ledger(self.database, self.attempt(tries).attempt)

    def planned(self, tries: int = 1) -> Progress:
        """How far it is, as soon as rows could be read."""

        def look() -> Progress | None:
            state = self.ledger(tries).read()
            assert state is None or state.state != "failed", state
            return state if state is not None and state.batches else None

        return soon(look, f"the plan of {self.database}")

    def ended(self) -> BackupEntry:
        """The catalogue's entry, when the backup is over and its lease free."""

        def look() -> BackupEntry | None:
            entry = self.stack.catalogue.backup(self.database, self.backup_id)
            over = entry is not None and entry.status != "in_progress"
            return entry if over and self.stack.catalogue.lease(self.database) is None else None

        return soon(look, f"the end of {self.database}")


def start(stack: Stack, database: str) -> Run:
    """Start a backup."""
    request = stack.request(database)
    answer = stack.call("backup", **request)
    assert answer["status"] == "started", answer
    machine = stack.info["outputs"]["BackupMachine"]
    name = f"{database}-{answer['backup_id']}"
    execution = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
    return Run(stack, database, answer["backup_id"], execution, request)


def planned(stack: Stack, server: EphemeralServer, name: str, user: str = "", **decisions: object) -> Run:
    """A database, and a backup of it that waits at its first batch."""
    create(server, name, ROWS)
    where = url(server, name, user) if user else url(server, name)
    stack.register(name, where, runs="machine", limits={"active_sessions": PAUSED_AT}, **decisions)
    run = start(stack, name)
    run.planned()
    return run


def assert_failed_cleanly(run: Run, server: EphemeralServer, code: str) -> None:
    """It is told with its cause; nothing looks like a backup; the source is free, and the next one runs."""
    entry = run.ended()
    assert (entry.status, entry.error_code) == ("failed", code), entry
    assert not run.stack.manifests(run.database)
    told = [event for event in run.stack.events(run.database) if event.type == "Backup Failed"]
    assert [event.detail["code"] for event in told] == [code]
    assert no_sessions_left_of(server, run.database)


def no_sessions_left_of(server: EphemeralServer, database: str) -> bool:
    asked = f"SELECT FROM pg_stat_activity WHERE datname = '{database}' AND application_name LIKE 'coffre%'"
    return soon(lambda: not sql(target(server, "postgres"), asked), f"the end of sessions on {database}")


def kill_functions(stack: Stack, verb: str, command: str = "") -> int:
    """Kill the processes of one function as the kernel does when memory is short; how many there were."""
    marker = f"AWS_LAMBDA_FUNCTION_NAME={stack.info['stack']}-{verb}".encode()
    endpoint = f"AWS_ENDPOINT_URL={stack.info['endpoint']}".encode()
    killed = 0
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environment = (place / "environ").read_bytes().split(b"\0")
            if {marker, endpoint} <= set(environment) and command.encode() in (
                place / "cmdline"
            ).read_bytes():
                os.kill(int(place.name), signal.SIGKILL)
                killed += 1
    return killed


def content(where: Target, snapshot: str | None = None) -> dict[str, Any]:
    """Count and a hash of the rows of each table, by SQL alone; as of a snapshot if one is given."""
    with open_session(where, seconds=60, application="tests") as session:
        session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if snapshot:
            session.run(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        names = session.run(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE relkind = 'r' AND nspname = 'public' ORDER BY 1"
        )
        asked = "SELECT count(*), coalesce(sum(hashtextextended(x::text, 0)::numeric), 0)::text FROM {} x"
        return {name: session.run(asked.format(name))[0] for (name,) in names}
