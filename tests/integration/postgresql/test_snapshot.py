"""A snapshot shows one instant with all its rows, or there is none; it never holds anybody up for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coffre.databases.postgresql import snapshot as module
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.dump import dump_schema
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.snapshot import HeldSnapshot, import_snapshot
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools
from coffre.errors import (
    CatalogChangedError,
    ConnectionLostError,
    DeadlineExceededError,
    LockNotGrantedError,
    NamesChangedError,
    QueryFailedError,
    SnapshotLostError,
    TableChangedError,
    WaitersPresentError,
)
from tests.support.postgres import create, customer_server, no_sessions_left, sql
from tests.support.waiting import soon

HEARTBEAT_SECONDS, IDLE_LIMIT = module.HEARTBEAT_SECONDS, module.IDLE_LIMIT
"""As they are: the tests hurry."""

ROWS = "CREATE TABLE rows AS SELECT n FROM generate_series(1, 1000) n"
COUNT = "SELECT count(*) FROM public.rows"
HOLDER = "FROM pg_stat_activity WHERE application_name = 'coffre/test'"
END = f"SELECT pg_terminate_backend(pid, 60000) {HOLDER}"
"""It waits until the holder is gone."""


@pytest.fixture(scope="module", params=[16, 18])
def server(
    request: pytest.FixtureRequest, postgres_root: Path, scratch_root: Path
) -> Iterator[EphemeralServer]:
    with customer_server(postgres_root, request.param, scratch_root) as server:
        yield server


@pytest.fixture
def shop(server: EphemeralServer, request: pytest.FixtureRequest) -> Iterator[Target]:
    """A database with a table of 1,000 rows; no session of Coffre may be left on it."""
    yield create(server, f"shop{abs(hash(request.node.name))}", ROWS)
    assert no_sessions_left(server)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(module, "LOCK_TIMEOUT", "300ms")


def hold(target: Target) -> HeldSnapshot:
    return HeldSnapshot(target, seconds=60, application="coffre/test")


def reader(target: Target, snapshot: str) -> Session:
    session = open_session(target, seconds=60, application="coffre/reader")
    import_snapshot(session, snapshot)
    return session


def dump(root: Path, target: Target, snapshot: str, folder: Path) -> None:
    dump_schema(
        Tools(root), 18, target, snapshot, folder / "schema", deadline=time.monotonic() + 120, lock_seconds=60
    )


def lost(held: HeldSnapshot) -> bool:
    try:
        held.check()
    except (ConnectionLostError, WaitersPresentError):
        return True
    return False


@pytest.mark.parametrize("change", ["TRUNCATE rows", "ALTER TABLE rows ALTER n TYPE text", "DROP TABLE rows"])
def test_what_would_empty_a_table_waits_until_the_snapshot_ends(shop: Target, change: str) -> None:
    with hold(shop) as held:
        with pytest.raises(LockNotGrantedError):
            sql(shop, "SET lock_timeout = '200ms'", change)
        with reader(shop, held.id) as session:
            assert session.value(COUNT) == 1000
    sql(shop, change)


def test_rows_that_change_afterwards_are_seen_as_they_were_by_every_reader(shop: Target) -> None:
    with hold(shop) as held:
        sql(shop, "INSERT INTO rows SELECT 5", "DELETE FROM rows WHERE n < 500")
        for _ in range(2):
            with reader(shop, held.id) as session:
                assert session.value(COUNT) == 1000
        held.confirm()


def test_a_table_that_somebody_else_locks_is_not_waited_for_without_end(shop: Target) -> None:
    with open_session(shop, seconds=60) as other:
        other.run("BEGIN")
        other.run("TRUNCATE public.rows")
        with pytest.raises(LockNotGrantedError):
            hold(shop)


Lock = Callable[[Session, Sequence[Sequence[object]]], None]


def in_between(monkeypatch: pytest.MonkeyPatch, target: Target, *changes: str) -> list[str]:
    """Let changes happen between the listing of tables and their locks, one an attempt; those to come."""
    real: Lock = module._lock
    waiting = list(changes)

    def lock(session: Session, listed: Sequence[Sequence[object]]) -> None:
        if waiting:
            sql(target, waiting.pop(0))
        real(session, listed)

    monkeypatch.setattr(module, "_lock", lock)
    return waiting


@pytest.mark.parametrize(
    ("change", "count"),
    [
        ("CREATE TABLE newcomer AS SELECT 1", 1000),
        ("CREATE TABLE other (); DROP TABLE other; TRUNCATE rows", 0),
        ("ALTER TABLE rows ALTER n TYPE bigint", 1000),
        ("ALTER TABLE rows RENAME TO gone; ALTER TABLE gone RENAME TO rows", 1000),
    ],
)
def test_a_change_before_the_locks_is_seen_and_tried_again(
    shop: Target, monkeypatch: pytest.MonkeyPatch, change: str, count: int
) -> None:
    waiting = in_between(monkeypatch, shop, change)
    with hold(shop) as held:
        assert waiting == []
        locked = held.session.run(
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessShareLock' "
            "AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)"
        )
        tables = held.session.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert locked == [[tables]]
        with reader(shop, held.id) as session:
            assert session.value(COUNT) == count


def test_a_table_that_is_dropped_before_the_locks_is_not_in_the_snapshot(
    shop: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql(shop, "CREATE TABLE dropped ()")
    in_between(monkeypatch, shop, "DROP TABLE dropped")
    with hold(shop) as held:
        assert held.session.value("SELECT to_regclass('public.dropped')") is None


def test_a_schema_that_never_stands_still_is_given_up(shop: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    in_between(monkeypatch, shop, *(f"CREATE TABLE t{number} ()" for number in range(module.ATTEMPTS)))
    with pytest.raises(CatalogChangedError, match=f"public.t{module.ATTEMPTS - 1}"):
        hold(shop)


@pytest.mark.parametrize("is_watched", [True, False])
def test_a_holder_that_is_ended_is_noticed_and_nobody_joins_it_any_more(
    shop: Target, postgres_root: Path, tmp_path: Path, is_watched: bool
) -> None:
    with hold(shop) as held:
        if is_watched:
            held.watch(waiters=None)
        with reader(shop, held.id) as early:
            assert sql(shop, END) == [[True]]
            assert early.value(COUNT) == 1000  # who has joined stays consistent
        if is_watched:
            soon(lambda: lost(held), "the holder's loss")
        with pytest.raises(ConnectionLostError):
            held.confirm()
        with open_session(shop, seconds=60) as late, pytest.raises(SnapshotLostError):
            import_snapshot(late, held.id)
        with pytest.raises(SnapshotLostError):
            dump(postgres_root, shop, held.id, tmp_path)


def test_a_holder_that_is_just_ending_is_gone(shop: Target, server: EphemeralServer) -> None:
    """For a moment its snapshot is still there, though the server doesn't take it any more."""
    with hold(shop) as held:
        snapshot = server._data / "pg_snapshots" / held.id
        content = snapshot.read_bytes()
    soon(lambda: not snapshot.exists(), "the snapshot's end")
    snapshot.write_bytes(content)
    snapshot.chmod(0o644)
    with open_session(shop, seconds=60) as late, pytest.raises(SnapshotLostError):
        import_snapshot(late, held.id)
    snapshot.unlink()


@pytest.mark.parametrize("failing", ["SELECT 1/0", "SELECT 1"])
def test_what_fails_under_a_snapshot_is_told_as_its_loss_only_if_it_is_lost(
    shop: Target, failing: str
) -> None:
    with hold(shop) as held, pytest.raises(QueryFailedError), held.blamed():
        held.session.run(failing)
        raise QueryFailedError("a worker's")
    with hold(shop) as held, pytest.raises(ConnectionLostError, match="the snapshot was lost"), held.blamed():
        held.watch(waiters=None)
        sql(shop, END)
        raise QueryFailedError("a worker's")
    with hold(shop) as held, pytest.raises(DeadlineExceededError), held.blamed():
        sql(shop, END)
        raise DeadlineExceededError("nobody waits for an answer any more")


def test_a_silent_holder_would_be_ended_by_the_server_whatever_the_role_sets(shop: Target) -> None:
    sql(shop, f'ALTER DATABASE "{shop.database}" SET idle_in_transaction_session_timeout = 0')
    with hold(shop) as held:
        assert held.session.value("SHOW idle_in_transaction_session_timeout") == module.IDLE_LIMIT


def test_a_holder_gives_signs_of_life_and_a_silent_one_is_ended(
    shop: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert float(IDLE_LIMIT.removesuffix("s")) > HEARTBEAT_SECONDS * 3
    seen = set()

    def beaten() -> bool:
        seen.update(
            str(since) for (since,) in sql(shop, f"SELECT state_change {HOLDER} AND state LIKE 'idle%'")
        )
        return len(seen) > 3

    with hold(shop) as held:
        held.watch(waiters=None)
        soon(beaten, "its heartbeats")
        held.confirm()
    with hold(shop) as held:
        held.session.run("SET idle_in_transaction_session_timeout = '100ms'")
        soon(lambda: not sql(shop, f"SELECT {HOLDER}"), "its end")
        with pytest.raises(ConnectionLostError):
            held.confirm()


def test_somebody_who_waits_too_long_is_let_go_before(shop: Target, server: EphemeralServer) -> None:
    with ThreadPoolExecutor(1) as threads, hold(shop) as held:
        held.watch(waiters=1)
        waiter = threads.submit(sql, shop, "SET lock_timeout = '60s'", "ALTER TABLE rows ADD more text")
        soon(lambda: lost(held), "the holder's patience")
        waiter.result()  # its lock was granted while we are still here
        with pytest.raises(WaitersPresentError, match="waited"):
            held.check()
        with pytest.raises(WaitersPresentError):
            held.confirm()


def test_by_policy_it_holds_on_whoever_waits(shop: Target) -> None:
    with hold(shop) as held:
        held.watch(waiters=None)
        with pytest.raises(LockNotGrantedError):
            sql(shop, "SET lock_timeout = '1500ms'", "ALTER TABLE rows ADD more text")
        held.confirm()


def successor(target: Target, snapshot: str) -> HeldSnapshot:
    return HeldSnapshot(target, seconds=60, application="coffre/test", predecessor=snapshot)


def test_a_snapshot_passes_from_holder_to_holder_and_stays_the_same_instant(shop: Target) -> None:
    held = hold(shop)
    for _ in range(5):
        sql(shop, "INSERT INTO rows SELECT 0", "DELETE FROM rows WHERE n BETWEEN 1 AND 10", "VACUUM rows")
        after = successor(shop, held.id)
        with pytest.raises(LockNotGrantedError):
            sql(shop, "SET lock_timeout = '100ms'", "TRUNCATE rows")
        held.close()
        with pytest.raises(LockNotGrantedError):
            sql(shop, "SET lock_timeout = '100ms'", "TRUNCATE rows")
        held = after
    with reader(shop, held.id) as session:
        assert session.run("SELECT count(*), sum(n) FROM public.rows") == [[1000, 500500]]
    held.confirm()
    held.close()


def test_a_successor_that_comes_too_late_takes_no_other_snapshot(shop: Target) -> None:
    with hold(shop) as held:
        gone = held.id
    with pytest.raises(SnapshotLostError):
        successor(shop, gone)


@pytest.mark.parametrize(
    "change", ["TRUNCATE rows", "ALTER TABLE rows ALTER n TYPE text", "DROP TABLE rows", "VACUUM FULL rows"]
)
def test_what_slips_in_between_two_holders_ends_the_backup_by_name(shop: Target, change: str) -> None:
    """Whoever holds the snapshot without the locks, as one that died in mid-hand-over, lets it happen."""
    with open_session(shop, seconds=60, application="coffre/test") as careless:
        careless.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        unguarded = str(careless.value("SELECT pg_export_snapshot()"))
        sql(shop, change)
        with pytest.raises(TableChangedError, match=r"public\.rows"):
            successor(shop, unguarded)


def test_a_successor_does_not_queue_behind_whoever_waits_for_its_predecessor(
    shop: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT", "0")  # it would wait for ever
    with hold(shop) as held, ThreadPoolExecutor() as pool:
        change = pool.submit(sql, shop, "SET lock_timeout = 0", "ALTER TABLE rows ADD COLUMN x int")
        soon(lambda: sql(shop, "SELECT FROM pg_locks WHERE NOT granted"), "a session that waits")
        with pytest.raises(LockNotGrantedError):
            successor(shop, held.id)
        held.close()
        change.result()


SCHEMAS = "CREATE SCHEMA blue; CREATE SCHEMA green; CREATE TABLE blue.t (n int); CREATE TABLE green.t (n int)"
EXCHANGE = (
    "ALTER SCHEMA blue RENAME TO aside; ALTER SCHEMA green RENAME TO blue; ALTER SCHEMA aside RENAME TO green"
)
TYPES = "CREATE TYPE kind AS ENUM ('a', 'b'); CREATE TYPE pair AS (x int, y text)"
LABELS = (
    "ALTER TYPE kind RENAME VALUE 'a' TO 'c'; ALTER TYPE kind RENAME VALUE 'b' TO 'a'; "
    "ALTER TYPE kind RENAME VALUE 'c' TO 'b'"
)
BACK = "ALTER TYPE kind RENAME VALUE 'a' TO 'c'; ALTER TYPE kind RENAME VALUE 'c' TO 'a'"


@pytest.mark.parametrize(
    ("before", "change", "named"),
    [
        (SCHEMAS, EXCHANGE, "schema blue, schema green"),
        (TYPES, LABELS, r"type public\.kind"),
        (TYPES, BACK, r"type public\.kind"),
        (TYPES, "ALTER TYPE pair ADD ATTRIBUTE z int", r"type public\.pair"),
        (TYPES, "ALTER TYPE pair DROP ATTRIBUTE y", r"type public\.pair"),
    ],
    ids=["schemas exchanged", "labels exchanged", "label renamed and back", "attribute added", "one dropped"],
)
def test_names_that_change_without_a_lock_on_any_table_end_the_backup(
    shop: Target, before: str, change: str, named: str
) -> None:
    """Rows would stand under the names of others, or couldn't be read by the types of the schema."""
    sql(shop, before)
    with hold(shop) as held:
        sql(shop, change)
        with pytest.raises(NamesChangedError, match=named):
            successor(shop, held.id)
        with pytest.raises(NamesChangedError, match=named):
            held.confirm()


def test_schemas_that_get_their_names_back_are_noticed_meanwhile(shop: Target) -> None:
    sql(shop, SCHEMAS)
    with hold(shop) as held:
        held.watch(waiters=None)
        sql(shop, EXCHANGE)
        soon(lambda: held._fault is not None, "what the holder noticed")
        sql(shop, EXCHANGE)
        with pytest.raises(NamesChangedError, match="schema blue"):
            held.confirm()


@pytest.mark.parametrize(
    "change",
    [
        f"BEGIN; {LABELS}; ALTER TYPE pair DROP ATTRIBUTE y; ROLLBACK",
        "ALTER TYPE kind ADD VALUE 'c'; ALTER TYPE kind ADD VALUE 'd' BEFORE 'a'",
        "DROP TYPE kind, pair",
        "GRANT USAGE ON SCHEMA public TO pg_monitor; CREATE SCHEMA one; ALTER SCHEMA one RENAME TO two",
        "CREATE TYPE other AS ENUM ('x'); ALTER TYPE other RENAME VALUE 'x' TO 'y'",
    ],
    ids=["rolled back", "labels added", "types dropped", "a new schema", "a new type"],
)
def test_changes_that_no_row_of_the_snapshot_shows_do_not_end_it(shop: Target, change: str) -> None:
    sql(shop, TYPES, LABELS)  # what was changed before is as it is
    with hold(shop) as held:
        sql(shop, *change.split("; "))
        held.confirm()
