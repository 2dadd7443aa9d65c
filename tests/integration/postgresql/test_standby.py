"""A snapshot of a hot standby shows all of its rows, whoever holds it and whatever the standby replays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from coffre.databases.postgresql import replaying
from coffre.databases.postgresql.connection import literal, open_session
from coffre.databases.postgresql.snapshot import HeldSnapshot, import_snapshot
from coffre.databases.postgresql.target import Target
from coffre.errors import SnapshotLostError
from tests.support.postgres import create, customer_server, sql, target
from tests.support.standby import PRIMARY, standby
from tests.support.waiting import soon

ROWS = 40
"""They lie on one page: whose removal is one record."""


@dataclass(frozen=True)
class Pair:
    """A database on its primary and on its standby."""

    primary: Target
    standby: Target

    def configure(self, name: str, value: str) -> None:
        """Change a setting of the standby's."""
        sql(self.standby, f"ALTER SYSTEM SET {name} = {literal(value)}")
        sql(self.standby, "SELECT pg_reload_conf()")

    def catch_up(self) -> None:
        """Wait until the standby has what the primary has now."""
        sql(self.primary, "SELECT pg_logical_emit_message(true, 'tests', 'a commit: everything is written')")
        ((lsn,),) = sql(self.primary, "SELECT pg_current_wal_flush_lsn()::text")
        has_it = f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'"
        soon(lambda: sql(self.standby, has_it) == [[True]], "what the primary wrote")


def hold(where: Target, predecessor: str | None = None) -> HeldSnapshot:
    return HeldSnapshot(where, seconds=60, application="coffre/test", predecessor=predecessor)


def count(where: Target, snapshot: str) -> int:
    with open_session(where, seconds=60, application="coffre/reader") as session:
        import_snapshot(session, snapshot)
        return int(session.value("SELECT count(*) FROM public.rows"))


@pytest.fixture(scope="module", params=[16, 18])
def pair(request: pytest.FixtureRequest, postgres_root: Path, scratch_root: Path) -> Iterator[Pair]:
    with customer_server(postgres_root, request.param, scratch_root, settings=PRIMARY) as first:
        primary = create(first, "shop", f"CREATE TABLE rows AS SELECT n FROM generate_series(1, {ROWS}) n")
        with standby(first, postgres_root, scratch_root) as second:
            made = Pair(primary, target(second, "shop"))
            made.catch_up()
            yield made


def test_a_snapshot_changes_hands_while_the_primary_goes_on(pair: Pair) -> None:
    held = hold(pair.standby)
    for _ in range(3):
        sql(pair.primary, "INSERT INTO rows VALUES (0)", "VACUUM rows")
        after = hold(pair.standby, held.id)
        held.close()
        held = after
        assert count(pair.standby, held.id) == ROWS
    held.confirm()
    held.close()
    sql(pair.primary, "DELETE FROM rows WHERE n = 0")
    pair.catch_up()


def test_no_successor_takes_over_while_rows_are_about_to_be_removed_from_under_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The primary forgot which rows the standby needs: the two lost each other for a moment."""
    monkeypatch.setattr(replaying, "REPLAY_SECONDS", 0.5)
    pair.configure("max_standby_streaming_delay", "-1")
    pair.configure("max_standby_archive_delay", "-1")
    ((address,),) = sql(pair.standby, "SELECT current_setting('primary_conninfo')")
    with hold(pair.standby) as held:
        pair.configure("primary_conninfo", "")
        gone = "SELECT count(*) = 0 FROM pg_stat_replication"
        soon(lambda: sql(pair.primary, gone) == [[True]], "the end of the connection")
        sql(pair.primary, f"DELETE FROM rows WHERE n <= {ROWS // 2}", "VACUUM rows")
        pair.configure("primary_conninfo", str(address))
        waits = "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'"
        soon(lambda: sql(pair.standby, waits) == [["RecoveryConflictSnapshot"]], "the conflict")
        with pytest.raises(SnapshotLostError, match="replayed nothing"):
            hold(pair.standby, held.id)
        assert count(pair.standby, held.id) == ROWS
    pair.catch_up()
