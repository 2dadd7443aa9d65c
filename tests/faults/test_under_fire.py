"""What a backup holds is what its snapshot shows, whatever writes to the source and changes it meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.snapshot import HeldSnapshot, import_snapshot
from coffre.databases.postgresql.target import Target
from coffre.errors import CatalogChangedError, CoffreError, LockNotGrantedError
from coffre.results import BackupResult
from tests.faults.cases import FIRST
from tests.faults.world import World
from tests.support.postgres import create, target

BACKUPS = 4
TOTAL = 2_050_000
SOURCE = """
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL, filler text DEFAULT repeat('x', 200));
INSERT INTO accounts SELECT n, 1000 FROM generate_series(1, 2000) n;
CREATE TABLE tills (id int, balance bigint);
INSERT INTO tills SELECT n, 1000 FROM generate_series(1, 50) n;
CREATE TABLE log (day int, id bigserial, delta bigint) PARTITION BY RANGE (day);
CREATE TABLE log_0 PARTITION OF log FOR VALUES FROM (0) TO (1);
CREATE TABLE flushed AS SELECT n FROM generate_series(1, 100) n;
CREATE TABLE retyped AS SELECT n FROM generate_series(1, 100) n;
CREATE TABLE queue (id serial, body text);
"""
CHANGES = (
    "BEGIN; TRUNCATE flushed; INSERT INTO flushed SELECT n FROM generate_series(1, 100) n; COMMIT",
    "CLUSTER accounts USING accounts_pkey",
    "VACUUM FULL tills",
    "ALTER TABLE retyped ALTER n TYPE bigint",
    "ALTER TABLE retyped ALTER n TYPE int",
    "CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (1) TO (2)",
    "INSERT INTO log SELECT 1, DEFAULT, 0 FROM generate_series(1, 10)",
    "DROP TABLE log_1",
    "ALTER TABLE queue ADD more int; ALTER TABLE queue DROP more",
)
_TABLES = "SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = 'public'"
_CONTENT = "SELECT count(*), sum(('x' || left(md5(t::text), 15))::bit(60)::bigint)::text FROM ONLY {} t"


def content(session: Session) -> dict[str, list[object]]:
    """Rows and a sum over them of each table, as the server computes them."""
    session.run("SET search_path = public")
    return {name: session.run(_CONTENT.format(name))[0] for (name,) in session.run(_TABLES)}


def transfer(session: Session, chance: random.Random) -> None:
    amount = chance.randint(-50, 50)
    session.run(
        f"BEGIN; UPDATE accounts SET balance = balance - {amount} WHERE id = {chance.randint(1, 2000)};"
        f"UPDATE tills SET balance = balance + {amount} WHERE id = {chance.randint(1, 50)};"
        f"INSERT INTO log VALUES (0, DEFAULT, {amount}); COMMIT"
    )


def enqueue(session: Session, chance: random.Random) -> None:
    del chance
    session.run("INSERT INTO queue (body) SELECT repeat('q', 500) FROM generate_series(1, 200)")
    session.run("DELETE FROM queue WHERE id < (SELECT max(id) - 300 FROM queue)")
    session.run("VACUUM queue")


def change(session: Session, chance: random.Random) -> None:
    session.run(chance.choice(CHANGES))
    session.run("SELECT pg_sleep(0.02)")


@contextmanager
def at_work(source: Target, *works: Callable[[Session, random.Random], None]) -> Iterator[None]:
    """Sessions that do this all the time, and wait for no lock for long."""
    done = threading.Event()

    def work(number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - not for secrets
        with open_session(source, seconds=60, application="writer") as session:
            session.run("SET search_path = public; SET lock_timeout = '100ms'")
            while not done.is_set():
                try:
                    works[number](session, chance)
                except CoffreError:
                    session.roll_back()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def taken(world: World, source: Target, number: int) -> BackupResult:
    """A backup, tried until tables stood still for as long as their locks took."""
    while True:
        try:
            return world.backup(source, FIRST + timedelta(minutes=number))
        except (CatalogChangedError, LockNotGrantedError):
            continue


def test_every_backup_is_what_its_snapshot_shows(
    world: World, server: EphemeralServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = create(server, "bank", SOURCE)
    seen: dict[str, list[object]] = {}
    real = HeldSnapshot.watch

    def watch(held: HeldSnapshot, *, waiters: float | None) -> None:
        with open_session(source, seconds=60, application="witness") as session:
            import_snapshot(session, held.id)
            seen.clear()
            seen.update(content(session))
        real(held, waiters=waiters)

    monkeypatch.setattr(HeldSnapshot, "watch", watch)
    with at_work(source, transfer, transfer, enqueue, change):
        for number in range(BACKUPS):
            made = taken(world, source, number)
            expected = dict(seen)
            restored = target(server, f"bank {number}")
            assert world.restore(restored, made.backup_id).digests_equal
            with open_session(restored, seconds=60) as session:
                assert content(session) == expected
                total = "SELECT (SELECT sum(balance) FROM accounts) + (SELECT sum(balance) FROM tills)"
                assert int(session.value(total)) == TOTAL
