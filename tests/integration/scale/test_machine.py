"""Backups that outgrow one function: one snapshot through many holders, and every way for it to fail."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from coffre.backup.feed import write_known_chunks
from coffre.backup.steps import stored_before
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.errors import CoffreError
from coffre.vault.known import KnownChunks
from coffre.vault.manifest import SealKey
from coffre.vault.parts import Chunk
from coffre.vault.reader import read_part
from tests.integration.scale.desk import (
    PAUSED_AT,
    ROWS,
    Run,
    assert_failed_cleanly,
    busy,
    content,
    kill_functions,
    no_sessions_left_of,
    planned,
    soon,
    start,
)
from tests.integration.scale.narrow import NarrowLine
from tests.support.postgres import CUSTOMER, RestartedServer, create, customer_server, sql, target, url
from tests.support.proxy import Answer, Proxy
from tests.support.stack import FunctionError, Stack
from tests.support.vault import plain
from tests.support.versions import begun_by_another

LARGE_ROWS = 180_000
LARGE = f"""CREATE TABLE quetzals AS
SELECT n, md5(n::text) || md5((n * 7)::text) || md5((n * 11)::text) || md5((n * 13)::text) AS x
FROM generate_series(1, {LARGE_ROWS}) n"""
LINE_BYTES_PER_SECOND = 5_000_000
"""The large table takes more time than one worker has."""
VERY_NARROW = 500_000
"""It takes the time of ten."""
WIDE = "CREATE TABLE wide AS SELECT repeat('a row above what is kept in memory ', 1 << 20) AS x"
SLOW_DOWN = Answer(503, "SlowDown")


@pytest.fixture
def paused(server: EphemeralServer) -> Iterator[threading.Event]:
    """Backups get as far as their plan, and go on when the event is set."""
    go, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with busy(server, PAUSED_AT + 1):
            ready.set()
            go.wait()
        ended.set()

    ready = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    yield go
    go.set()
    thread.join()


@pytest.fixture(scope="module")
def unheard(hurried: Stack, server: EphemeralServer) -> Iterator[Run]:
    """A backup whose first holder is killed before it has the snapshot."""
    create(server, "unheard", ROWS)
    with NarrowLine(f"{server.socket_dir}/.s.PGSQL.{server.port}") as line:
        hurried.register("unheard", url_over(line, "unheard"), runs="machine")
        locks = line.stop_at(b"LOCK TABLE")
        run = start(hurried, "unheard")
        soon(locks.is_set, "a holder")
        assert kill_functions(hurried, "hold")
        yield run
        run.ended()


@pytest.fixture(scope="module")
def unlockable(hurried: Stack, server: EphemeralServer) -> Iterator[Run]:
    """A backup of a table that somebody has locked."""
    made = create(server, "locked", ROWS)
    hurried.register("locked", url(server, "locked"), runs="machine", waiters=1)

    def lock() -> None:
        with suppress(CoffreError), open_session(made, seconds=900, application="tests") as session:
            session.run("BEGIN; LOCK TABLE public.kept; SELECT pg_sleep(900)")

    with ThreadPoolExecutor() as threads:
        threads.submit(lock)
        soon(lambda: sql(made, "SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock'"), "the lock")
        yield start(hurried, "locked")
        sql(target(server, "postgres"), 'DROP DATABASE "locked" WITH (FORCE)')


def url_over(line: NarrowLine, database: str) -> str:
    """The URL of a database at the other end of a line."""
    return f"postgresql://{CUSTOMER}@127.0.0.1:{line.port}/{database}?sslmode=disable"


def code_of(error: BaseException | None) -> str | None:
    """Coffre's code of what a function ended with."""
    assert error is None or isinstance(error, FunctionError), error
    return error.code if error else None


@pytest.fixture(scope="module")
def forsaken(hurried: Stack, server: EphemeralServer, line: Proxy) -> Iterator[Run]:
    """A backup whose vault answers 503 from the first row on, and never again anything else."""
    create(server, "forsaken", ROWS)
    hurried.register("forsaken", url(server, "forsaken"), runs="machine", waiters=1)
    over = threading.Event()

    def forsake() -> None:
        run.planned()
        with line.outage("forsaken", SLOW_DOWN):
            over.wait()

    with line.outage("forsaken/chunks/", SLOW_DOWN), ThreadPoolExecutor() as threads:
        run = start(hurried, "forsaken")
        threads.submit(forsake)
        yield run
        over.set()


@pytest.fixture(scope="module")
def slow(
    hurried: Stack, server: EphemeralServer, unheard: Run, unlockable: Run, forsaken: Run
) -> Iterator[Run]:
    """A sealed backup that needs several workers, and whose first worker is killed."""
    for other in (unheard, unlockable, forsaken):  # it is their worker otherwise
        other.ended()
    create(server, "large", LARGE)
    key = str(hurried.client("kms").create_key()["KeyMetadata"]["Arn"])
    path = f"{server.socket_dir}/.s.PGSQL.{server.port}"
    with NarrowLine(path, VERY_NARROW) as line:
        hurried.register("large", url_over(line, "large"), runs="machine", seal_key=key)
        run = start(hurried, "large")
        soon(lambda: kill_functions(hurried, "capture", "coffre.worker"), "a worker")
        line.bytes_per_second = LINE_BYTES_PER_SECOND
        yield run
        run.ended()


@pytest.fixture(scope="module")
def throttled(hurried: Stack, server: EphemeralServer, line: Proxy) -> Iterator[Run]:
    """A backup whose vault answers 503 for longer than a worker tries."""
    create(server, "throttled", ROWS)
    hurried.register("throttled", url(server, "throttled"), runs="machine", waiters=1)
    begun, given_up = list[Run](), threading.Event()

    def over() -> bool:
        if begun and begun[0].ledger().fault():
            given_up.set()
        return given_up.is_set()

    with line.outage("throttled/chunks/", SLOW_DOWN, over):
        begun.append(start(hurried, "throttled"))
        yield begun[0]
        begun[0].ended()
    assert given_up.is_set()


@pytest.fixture(scope="module")
def crammed(
    hurried: Stack, server: EphemeralServer, worker_disk: Path | None, throttled: Run, restarted: Run
) -> Run:
    """A backup of a row that its workers' disk has no room for."""
    if worker_disk is None:
        pytest.skip("only root may mount a small file system")
    for other in (throttled, restarted):  # their workers have the same disk
        other.ended()
    create(server, "crammed", WIDE)
    hurried.register("crammed", url(server, "crammed"), runs="machine")
    return start(hurried, "crammed")


@pytest.fixture(scope="module")
def unsteady(postgres_root: Path, scratch_root: Path) -> Iterator[RestartedServer]:
    """A server that plays a customer's, and is restarted."""
    with customer_server(postgres_root, 16, scratch_root, kind=RestartedServer) as made:
        yield made


@pytest.fixture(scope="module")
def restarted(hurried: Stack, unsteady: RestartedServer) -> Iterator[Run]:
    """A backup whose server is restarted when the first of its rows are stored."""
    create(unsteady, "restarted", LARGE)
    path = f"{unsteady.socket_dir}/.s.PGSQL.{unsteady.port}"
    with NarrowLine(path, VERY_NARROW) as line, ThreadPoolExecutor() as threads:
        hurried.register("restarted", url_over(line, "restarted"), runs="machine")
        run = start(hurried, "restarted")

        def restart() -> None:
            soon(lambda: list(run.ledger().batches()), "rows")
            unsteady.shut_down()
            line.bytes_per_second = LINE_BYTES_PER_SECOND
            unsteady.start_again()

        done = threads.submit(restart)
        yield run
        done.result()
        run.ended()


@pytest.mark.usefixtures("unheard", "unlockable", "forsaken")  # which take as long as this, and ask little
def test_one_snapshot_lives_through_five_holders_while_others_write(
    hurried: Stack, server: EphemeralServer, paused: threading.Event
) -> None:
    """And a batch that is captured three times at the same time counts once."""
    name = "written"
    made = create(
        server, name, ROWS, "CREATE TABLE moving AS SELECT n, 0 AS v FROM generate_series(1, 500) n"
    )
    hurried.register(name, url(server, name), runs="machine", limits={"active_sessions": PAUSED_AT})
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.2):
            sql(
                made,
                "UPDATE moving SET v = v + 1",
                "INSERT INTO kept SELECT 0, 'later'",
                "DELETE FROM moving WHERE v > 40",
            )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        run = start(hurried, name)
        control = content(made, run.planned().snapshot)
        soon(lambda: run.planned().holder >= 5, "five holders")
    finally:
        stop.set()
        writer.join()
    paused.set()
    event = {"run": run.attempt().model_dump(mode="json"), "batch": "000001"}
    with ThreadPoolExecutor() as threads:
        doubled = [threads.submit(hurried.call, "capture", **event) for _ in range(2)]
        entry = run.ended()
    assert entry.status == "completed", entry.error_message
    assert {code_of(one.exception()) for one in doubled} <= {None, "backup-over"}
    assert entry.rows == sum(rows for rows, _ in control.values())
    (manifest,) = hurried.manifests(name)
    assert content(made) != control
    assert hurried.restore(name, url(server, "written again"))["digests_equal"]
    assert content(target(server, "written again")) == control
    assert no_sessions_left_of(server, name)
    assert manifest.endswith(f"{run.backup_id}/manifest.json")


def test_what_there_is_no_time_for_is_left_to_the_next_worker(
    hurried: Stack, server: EphemeralServer, slow: Run
) -> None:
    entry = slow.ended()
    assert entry.status == "completed", entry.error_message
    records = list(slow.ledger().batches())
    assert [record for record in records if record.rest], "it was read in one go"
    assert sum(record.rows for record in records) == entry.rows == LARGE_ROWS
    hurried.restore("large", url(server, "large again"))
    assert content(target(server, "large again")) == content(target(server, "large"))


def test_what_an_attempt_stored_is_not_sent_again_by_the_next(
    hurried: Stack, slow: Run, tmp_path: Path
) -> None:
    slow.ended()
    parts = stored_before(hurried.catalogue, slow.attempt(2))
    begun = slow.ledger().read()
    assert begun is not None
    seal = hurried.seal_keys.unwrap(SealKey.model_validate_json(begun.seal))
    store = hurried.store.with_seal(seal)
    write_known_chunks(store, "no-backup-yet", tmp_path / "known", parts)
    known = KnownChunks(tmp_path / "known")
    stored = [one for one in hurried.records("large") if isinstance(one, Chunk)]
    assert stored
    assert all(known.find(chunk.id) == (chunk.stored, chunk.sha256) for chunk in stored)


def test_functions_of_a_sealed_backup_leave_nothing_for_each_other_that_can_be_read(
    hurried: Stack, slow: Run
) -> None:
    slow.ended()
    manifest = hurried.manifest("large")
    assert manifest.is_closed
    keys = hurried.keys("large/")
    assert any("/work/" in key and "/batch-" in key for key in keys)
    for key in keys:
        for text in plain(hurried.store.read(key, limit=1 << 26)):
            assert b"quetzal" not in text, key


def test_tables_that_cannot_be_locked_end_the_backup(
    hurried: Stack, server: EphemeralServer, unlockable: Run
) -> None:
    assert_failed_cleanly(unlockable, server, "lock-not-granted")


def test_a_holder_that_dies_costs_an_attempt_and_no_backup(
    hurried: Stack, server: EphemeralServer, paused: threading.Event
) -> None:
    run = planned(hurried, server, "orphaned", waiters=1)
    assert kill_functions(hurried, "hold")
    paused.set()
    entry = run.ended()
    assert entry.status == "completed", entry.error_message
    assert hurried.manifest("orphaned").attempt == run.attempt(2).attempt
    assert no_sessions_left_of(server, "orphaned")


def test_a_holder_that_is_not_heard_of_is_started_again(
    hurried: Stack, server: EphemeralServer, unheard: Run
) -> None:
    entry = unheard.ended()
    assert entry.status == "completed", entry.error_message
    assert hurried.manifest("unheard").attempt == unheard.attempt().attempt
    assert no_sessions_left_of(server, "unheard")


def test_a_backup_that_another_version_began_is_begun_anew_by_the_one_that_was_deployed(
    hurried: Stack, server: EphemeralServer, paused: threading.Event
) -> None:
    run = planned(hurried, server, "deployed", waiters=1)
    begun_by_another(run.ledger(), None)
    soon(lambda: (state := run.ledger().read()) and state.state == "failed", "the attempt's end")
    paused.set()
    entry = run.ended()
    assert entry.status == "completed", entry.error_message
    assert hurried.manifest("deployed").attempt == run.attempt(2).attempt
    assert not [event for event in hurried.events("deployed") if event.type == "Backup Failed"]
    assert no_sessions_left_of(server, "deployed")


@pytest.mark.usefixtures("throttled")  # which goes on meanwhile
def test_ddl_in_the_middle_goes_first_and_the_backup_after_it(
    hurried: Stack, server: EphemeralServer, paused: threading.Event
) -> None:
    run = planned(hurried, server, "migrated", waiters=1)
    sql(
        target(server, "migrated"), "ALTER TABLE kept ADD COLUMN y int DEFAULT 7"
    )  # it waits, then it doesn't
    paused.set()
    entry = run.ended()
    assert entry.status == "completed", entry.error_message
    assert hurried.manifest("migrated").attempt == run.attempt(2).attempt
    assert no_sessions_left_of(server, "migrated")
    hurried.restore("migrated", url(server, "migrated again"))
    assert content(target(server, "migrated again")) == content(target(server, "migrated"))


@pytest.mark.usefixtures("restarted")  # which goes on meanwhile
def test_a_batch_that_always_fails_ends_the_backup_with_its_cause(
    hurried: Stack, server: EphemeralServer, paused: threading.Event
) -> None:
    rights = "GRANT pg_read_all_data, pg_read_all_stats TO reader"
    sql(target(server, "postgres"), "CREATE ROLE reader LOGIN", rights)
    run = planned(hurried, server, "revoked", "reader")
    sql(target(server, "postgres"), "REVOKE pg_read_all_data FROM reader")
    paused.set()
    assert_failed_cleanly(run, server, "privileges-missing")
    sql(target(server, "postgres"), "GRANT pg_read_all_data TO reader")
    assert start(hurried, "revoked").ended().status == "completed"


def test_limits_that_the_role_cannot_watch_are_refused_before_anything_is_read(
    hurried: Stack, server: EphemeralServer
) -> None:
    rights = "GRANT pg_read_all_data TO blind"
    sql(target(server, "postgres"), "CREATE ROLE blind LOGIN", rights)
    create(server, "unwatched", ROWS)
    limits = {"active_sessions": 5, "replica_lag_seconds": 60}
    where = url(server, "unwatched", "blind")
    hurried.register("unwatched", where, runs="machine", limits=limits)
    run = start(hurried, "unwatched")
    assert_failed_cleanly(run, server, "privileges-missing")
    assert "pg_read_all_stats" in str(run.ended().error_message)
    found, *_ = hurried.backup("unwatched", preflight_only=True)["findings"]
    assert found["code"] == "privileges-missing"
    assert (found["level"], found["object"]) == ("warn", "active_sessions, replica_lag_seconds")
    sql(target(server, "postgres"), "GRANT pg_read_all_stats TO blind")
    assert start(hurried, "unwatched").ended().status == "completed"


def test_a_machine_that_is_stopped_by_hand_leaves_nothing_behind(
    hurried: Stack, server: EphemeralServer, paused: threading.Event
) -> None:
    """And a second backup of the same database, started meanwhile, doesn't disturb the first."""
    run = planned(hurried, server, "stopped")
    second = start(hurried, "stopped")
    events = soon(lambda: [e for e in hurried_events(second) if e == "lease-held"], "the second one's end")
    assert events == ["lease-held"]
    assert (run.ledger().read() or run.planned()).state == "open"
    hurried.client("stepfunctions").stop_execution(executionArn=run.execution)
    entry = run.ended()
    assert (entry.status, entry.error_code) == ("failed", "backup-stopped")
    assert no_sessions_left_of(server, "stopped")
    assert not hurried.manifests("stopped")
    paused.set()
    third = start(hurried, "stopped").ended()
    assert third.status == "completed", third.error_message


def hurried_events(run: Run) -> list[str]:
    """The codes of what failed, of one backup."""
    found = run.stack.client("stepfunctions").describe_execution(executionArn=run.execution)
    cause = str(found.get("cause", ""))
    return ["lease-held"] if found["status"] == "FAILED" and "[lease-held]" in cause else []


def test_a_store_that_is_slow_for_longer_than_a_worker_tries_costs_no_attempt(
    hurried: Stack, server: EphemeralServer, throttled: Run
) -> None:
    """Here that is seconds; `tests/contract/test_state_machines.py` holds that it may be a minute."""
    entry = throttled.ended()
    assert entry.status == "completed", entry.error_message
    assert hurried.manifest("throttled").attempt == throttled.attempt(1).attempt
    assert not [event for event in hurried.events("throttled") if event.type == "Backup Failed"]
    assert no_sessions_left_of(server, "throttled")


def test_a_store_that_stays_away_ends_the_backup(server: EphemeralServer, forsaken: Run) -> None:
    assert_failed_cleanly(forsaken, server, "store-unavailable")


def test_a_server_that_restarts_midway_costs_an_attempt_and_nothing_is_sent_twice(
    hurried: Stack, line: Proxy, unsteady: RestartedServer, restarted: Run
) -> None:
    """The next attempt has a new snapshot; what was recorded of the first is found by its content."""
    entry = restarted.ended()
    assert entry.status == "completed", entry.error_message
    assert entry.rows == LARGE_ROWS
    manifest = hurried.manifest("restarted")
    assert manifest.attempt == restarted.attempt(2).attempt
    parts = stored_before(hurried.catalogue, restarted.attempt(2))
    stored = [one.key for part in parts for one in read_part(hurried.store, part) if isinstance(one, Chunk)]
    sent = Counter(line.written)
    assert stored
    assert {sent[f"/{hurried.bucket}/{key}"] for key in stored} == {1}
    assert no_sessions_left_of(unsteady, "restarted")


def test_a_full_disk_ends_the_backup_and_no_other(
    hurried: Stack, server: EphemeralServer, worker_disk: Path, crammed: Run
) -> None:
    assert_failed_cleanly(crammed, server, "disk-full")
    soon(lambda: not list(worker_disk.iterdir()), "an empty disk")
    sql(target(server, "crammed"), "UPDATE wide SET x = left(x, 1 << 20)")
    assert start(hurried, "crammed").ended().status == "completed"
