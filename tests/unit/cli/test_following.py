"""`coffre status`, and waiting for a backup on the state machine."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from coffre.events.backup import BackupRequest
from coffre.events.base import parse
from coffre.ids import backup_id, utc_now
from coffre_cli import following
from tests.unit.cli.conftest import BACKUP, World

ATTEMPT = "0123456789ab"


def in_progress(world: World) -> None:
    """A backup on the state machine, half done."""
    catalogue, deadline = world.catalogue, utc_now() + timedelta(hours=1)
    catalogue.acquire("shop", ATTEMPT, deadline)
    catalogue.begin("shop", BACKUP, "daily", utc_now() - timedelta(seconds=10))
    ledger = catalogue.ledger("shop", ATTEMPT)
    ledger.open(BACKUP, deadline, version=1, pause=60)
    ledger.publish(1, "a-snapshot")
    ledger.planned("a plan", batches=4, total=2_000_000)
    catalogue.progress("shop", BACKUP, rows=1234, done=1_000_000, total=2_000_000)


def test_status_shows_how_far_a_backup_is_and_how_long_it_will_take(world: World) -> None:
    in_progress(world)
    document = world.run("status", "shop", "--json").document
    assert (document["status"], document["runs"]) == ("in_progress", "machine")
    assert (document["batches"], document["batches_done"], document["holder"]) == (4, 0, 1)
    assert document["rate"] > 0
    assert document["seconds_left"] > 0
    shown = world.run("status", "shop", "--once").out
    assert "1.0 MB of 2.0 MB" in shown
    assert "0 of 4" in shown
    assert "1,234" in shown


def test_status_of_a_failed_backup_tells_its_cause(world: World) -> None:
    in_progress(world)
    world.catalogue.fail("shop", BACKUP, "backup-stalled", "it got no further for 900 s")
    outcome = world.run("status", "shop")
    assert outcome.code == 1
    for told in ("[backup-stalled]", "no further for 900 s", "Look at the source's sessions"):
        assert told in outcome.out
    shown = world.run("show", "shop", BACKUP).out
    assert "Look at the source's sessions" in shown
    assert "not verified yet" not in shown, "there is nothing to verify"


def test_status_of_a_database_without_backups_is_no_error(world: World) -> None:
    world.register()
    assert world.run("status", "shop", "--json").document["status"] is None
    assert world.run("status", "unknown").code == 2


def started(event: dict[str, Any]) -> dict[str, Any]:
    """A backup function that starts the state machine."""
    request = parse(BackupRequest, event)
    identifier = backup_id(str(request.database), request.type, request.scheduled_time)
    return {"database": request.database, "backup_id": identifier, "status": "started", "where": "too large"}


def test_a_backup_on_the_state_machine_is_waited_for_and_told_with_its_numbers(world: World) -> None:
    def complete(event: dict[str, Any]) -> dict[str, Any]:
        answer = started(event)
        world.store_backup("shop", answer["backup_id"])
        return answer

    world.functions.answers["backup"] = complete
    document = world.run("backup", "shop", "--wait", "--json").document
    assert (document["status"], document["where"]) == ("completed", "too large")
    assert {"rows", "bytes", "stored_bytes", "new_bytes", "seconds", "root_hash"} <= set(document)


def test_a_backup_that_fails_on_the_state_machine_fails_the_command_with_its_code(world: World) -> None:
    def fail(event: dict[str, Any]) -> dict[str, Any]:
        answer = started(event)
        world.catalogue.fail("shop", answer["backup_id"], "table-changed", "emptied: public.orders")
        return answer

    world.functions.answers["backup"] = fail
    outcome = world.run("backup", "shop", "--wait", "--json")
    assert outcome.code == 1
    assert "table-changed" in outcome.out + outcome.err


def test_nobody_waits_for_ever_for_a_machine_that_begins_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BEGIN_SECONDS", -1.0)
    world.functions.answers["backup"] = started
    assert world.run("backup", "shop", "--wait").code == 1


def test_where_a_backup_ran_is_told_after_its_end_or_not_at_all(world: World) -> None:
    in_progress(world)
    world.catalogue.fail("shop", BACKUP, "backup-stalled", "it got no further for 900 s")
    world.catalogue.release("shop", ATTEMPT)
    assert world.run("status", "shop", "--json").document["runs"] == "machine"
    world.catalogue.acquire("shop", "another-one", utc_now() + timedelta(hours=1))
    assert world.run("status", "shop", "--json").document["runs"] is None


def interrupt(*_: object) -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def test_ctrl_c_while_a_backup_goes_on_elsewhere_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following.time, "sleep", interrupt)
    world.functions.answers["backup"] = started
    in_progress(world)
    for command in (("backup", "shop", "--wait"), ("status", "shop")):
        outcome = world.run(*command)
        assert (outcome.code, outcome.out) == (130, "")
        assert "the backup of shop goes on; `coffre status shop` follows it" in outcome.err
