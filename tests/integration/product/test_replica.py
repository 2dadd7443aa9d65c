"""A backup that reads a named replica holds what the primary held when it began, or isn't made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.replica import examine_replica
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from tests.support.postgres import create, customer_server, sql, target, url
from tests.support.stack import FunctionError, Stack
from tests.support.standby import PRIMARY, standby
from tests.support.waiting import PATIENCE_SECONDS, soon

TABLES = """
CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 1000) i;
CREATE UNLOGGED TABLE passing (id serial); INSERT INTO passing DEFAULT VALUES;
SELECT lo_from_bytea(0, 'a large object');
"""


@dataclass(frozen=True)
class Pair:
    """A database on its primary and on its replica."""

    primary: Target
    replica: Target
    primary_url: str
    replica_url: str

    def pause(self) -> None:
        """Let the replica replay nothing any more."""
        sql(self.replica, "SELECT pg_wal_replay_pause()")
        state = "SELECT pg_get_wal_replay_pause_state()"
        soon(lambda: sql(self.replica, state) == [["paused"]], "a replica that replays nothing")

    def examine(self, replica: Target, primary: Target, patience: float = PATIENCE_SECONDS) -> list[str]:
        """The codes of what `examine_replica` finds."""
        with (
            open_session(replica, seconds=60) as behind,
            open_session(primary, seconds=60) as ahead,
        ):
            return [finding.code for finding in examine_replica(behind, ahead, patience=patience)]


@pytest.fixture(scope="module")
def pair(postgres_root: Path, scratch_root: Path) -> Iterator[Pair]:
    with customer_server(postgres_root, 16, scratch_root, settings=PRIMARY) as first:
        primary = create(first, "shop", TABLES)
        with standby(first, postgres_root, scratch_root) as second:
            yield Pair(primary, target(second, "shop"), url(first, "shop"), url(second, "shop"))


def test_a_backup_of_a_replica_holds_what_its_primary_held_when_it_began(stack: Stack, pair: Pair) -> None:
    stack.register("replicated", pair.primary_url, replica=stack.target(pair.replica_url))
    pair.pause()
    sql(pair.primary, "INSERT INTO t VALUES (1001)")
    resume = threading.Timer(1, sql, (pair.replica, "SELECT pg_wal_replay_resume()"))
    resume.start()
    made = stack.backup("replicated")
    resume.join()
    assert (made["status"], made["rows"]) == ("completed", 1001)
    assert [(left.kind, left.name) for left in stack.manifest("replicated").left_out] == [
        ("unlogged table", "public.passing"),
        ("unlogged sequence", "public.passing_id_seq"),
    ]
    stack.drain()
    assert stack.told("replicated", "Proof").type == "Proof Passed"


def test_a_replica_that_gets_nothing_any_more_fails_the_backup(stack: Stack, pair: Pair) -> None:
    pair.pause()
    try:
        sql(pair.primary, "INSERT INTO t VALUES (1002)")
        assert pair.examine(pair.replica, pair.primary, patience=0.5) == ["replica-behind"]
    finally:
        sql(pair.replica, "SELECT pg_wal_replay_resume()")
    assert pair.examine(pair.replica, pair.primary) == []


def test_a_server_that_is_no_replica_of_the_database_is_refused(
    stack: Stack, pair: Pair, server18: EphemeralServer
) -> None:
    other = create(server18, "shop")
    assert pair.examine(pair.primary, pair.primary) == ["replica-foreign"]
    assert pair.examine(pair.replica, pair.replica) == ["replica-foreign"]
    assert pair.examine(pair.replica, other) == ["replica-foreign"]
    assert pair.examine(pair.replica, replace(pair.primary, database="postgres")) == ["replica-foreign"]
    stack.register("promoted", pair.primary_url, replica=stack.target(pair.primary_url))
    with pytest.raises(FunctionError) as refused:
        stack.backup("promoted")
    assert refused.value.code == "replica-foreign"
    assert stack.lease_is_free("promoted")


def test_a_safety_backup_reads_the_database_itself(stack: Stack, pair: Pair) -> None:
    stack.register("safe", pair.primary_url, replica=stack.target("postgresql://nobody@127.0.0.1:1/shop"))
    assert stack.backup("safe", type="safety")["status"] == "completed"


def test_everybody_may_see_how_far_a_replica_itself_is_behind(stack: Stack, pair: Pair) -> None:
    sql(pair.primary, "CREATE ROLE blind LOGIN", "GRANT pg_read_all_data TO blind")
    pair.examine(pair.replica, pair.primary)  # waits until the role is there, too
    where = stack.target(pair.replica_url.replace("user=customer", "user=blind"))
    stack.register("unseen", pair.primary_url, replica=where, limits={"replica_lag_seconds": 60})
    assert unseen_limits(stack, "unseen") == set()
    stack.register("unseen", pair.primary_url, replica=where, limits={"active_sessions": 5})
    assert unseen_limits(stack, "unseen") == {"active_sessions"}


def unseen_limits(stack: Stack, database: str) -> set[str]:
    """The limits that a check says nobody could keep."""
    found = stack.backup(database, preflight_only=True)["findings"]
    missing = {one["object"] for one in found if one["code"] == "privileges-missing"}
    return missing & {"active_sessions", "replica_lag_seconds"}
