"""Holds: notes that keep a backup, until a date or until it is released."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coffre.errors import HeldMeanwhileError, InvalidEventError, NoObjectLockError, UnknownBackupError
from coffre.events.base import parse
from coffre.events.rotate import HoldRequest
from coffre.rotate import hold
from coffre.rotate import run as rotation
from coffre.vault.locks import LockRule
from coffre.vault.notes import Hold, list_notes, write_note
from tests.fakes.vault import DATABASE, put_backup
from tests.unit.rotate.conftest import LAYOUT, World


def superseded(world: World) -> Any:
    """A backup that the policy would delete, and the newer one that supersedes it."""
    old = world.backup(["shared", "old"])
    world.pass_days(1)
    return old, world.backup(["shared", "new"])


def actions(world: World) -> dict[str, str]:
    return {d.backup_id: d.action for d in world.rotate(dry_run=True).decisions}


def test_a_hold_keeps_a_backup_until_it_is_released(world: World) -> None:
    old, _ = superseded(world)
    assert actions(world)[old.id] == "delete"
    result = world.hold("hold", old, reason="audit of 2026")
    [phrase] = result.holds
    assert "audit of 2026" in phrase
    [decision] = [d for d in world.rotate().decisions if d.backup_id == old.id]
    assert decision.reasons == [f"held: {phrase}"]
    world.store.advance(minutes=1)
    assert world.hold("release", old).holds == []
    assert actions(world)[old.id] == "delete"
    world.store.advance(minutes=1)
    world.hold("hold", old)
    assert actions(world)[old.id] == "keep", "a hold after a release counts again"
    assert [entry.action for entry in world.catalogue.audits(DATABASE)] == ["hold", "release", "hold"]


def test_latest_holds_what_a_restore_of_latest_would_take(world: World) -> None:
    _, new = superseded(world)
    safety = "20301231T030000Z-safety-aaaaaa"
    put_backup(world.store, safety, [b"damaged\n"])
    request = HoldRequest(action="hold", database=DATABASE, backup_id="latest")
    assert hold.run(request, world.services, seconds=900).backup_id == new.id
    request = HoldRequest(action="hold", database=DATABASE, backup_id=safety)
    assert hold.run(request, world.services, seconds=900).backup_id == safety


def test_a_hold_after_a_release_holds_whatever_the_clocks_say(world: World) -> None:
    """Two functions tell the time, and the one of the hold is behind."""
    old, _ = superseded(world)
    world.hold("hold", old)
    world.hold("release", old)
    services = world.services
    world.services = replace(services, now=lambda: world.store.now - timedelta(minutes=1))
    assert world.hold("hold", old).holds
    world.services = services
    assert actions(world)[old.id] == "keep"
    world.services = replace(services, now=lambda: world.store.now - timedelta(minutes=2))
    assert not world.hold("release", old).holds


def test_a_hold_with_a_date_ends_by_itself(world: World) -> None:
    old, _ = superseded(world)
    world.hold("hold", old, until=(world.store.now + timedelta(days=2)).isoformat())
    assert actions(world)[old.id] == "keep"
    world.pass_days(2)
    assert actions(world)[old.id] == "delete"


def test_a_hold_that_cannot_be_read_holds(world: World) -> None:
    old, _ = superseded(world)
    world.store.put(f"{LAYOUT.notes(old.id)}2026-11-20T03:00:00.000000Z-hold.json", b"\xff")
    assert actions(world)[old.id] == "keep"


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "release", "until": "2027-01-01T00:00:00Z"},
        {"action": "release", "legal": True},
        {"action": "hold", "until": "2027-01-01"},
        {"action": "hold", "legal": True, "until": "2027-01-01T00:00:00Z"},
        {"action": "pin"},
        {"action": "hold", "reason": "x" * 201},
    ],
)
def test_a_request_that_says_too_much_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidEventError):
        parse(HoldRequest, {"database": DATABASE, "backup_id": "latest", **wrong})


def test_bad_input_changes_nothing(world: World) -> None:
    manifest = world.backup(["rows"])
    before = world.contents()
    with pytest.raises(InvalidEventError):
        world.hold("hold", manifest, until=world.store.now.isoformat())
    with pytest.raises(NoObjectLockError):
        world.hold("hold", manifest, legal=True)
    request = {"action": "hold", "database": DATABASE, "backup_id": "20200101T000000Z-daily-000000"}
    with pytest.raises(UnknownBackupError):
        hold.run(parse(HoldRequest, request), world.services, seconds=60)
    assert world.contents() == before


def test_a_rotation_that_meets_a_new_hold_deletes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hold comes after the inventory was taken and before the manifest would go."""
    old, _ = superseded(world)
    decide = rotation.decide

    def hold_in_between(*given: Any) -> Any:
        write_note(world.store, LAYOUT, old.id, "hold", Hold(), world.store.now)
        return decide(*given)

    monkeypatch.setattr(rotation, "decide", hold_in_between)
    assert HeldMeanwhileError.code in world.failure()
    assert world.store.head(LAYOUT.manifest(old.id)) is not None


def test_what_is_being_read_is_not_deleted(world: World) -> None:
    old, _ = superseded(world)
    ends = world.store.now + timedelta(hours=2)
    world.catalogue.start_run(DATABASE, "restore", "r1", ends, old.id)
    [decision] = [d for d in world.rotate().decisions if d.backup_id == old.id]
    assert decision.action == "keep"
    assert "a restore reads it, until" in decision.reasons[0]
    world.catalogue.end_run(DATABASE, "r1")
    assert actions(world)[old.id] == "delete"


def test_a_run_that_died_without_a_word_stops_nobody_after_its_deadline(world: World) -> None:
    old, _ = superseded(world)
    world.catalogue.start_run(DATABASE, "verify", "v1", world.store.now + timedelta(hours=2), old.id)
    world.store.advance(hours=3)
    assert actions(world)[old.id] == "delete"


def test_a_legal_hold_is_on_every_object_and_off_where_no_other_needs_it(world: World) -> None:
    world.store.rule = LockRule("COMPLIANCE", timedelta(days=1))
    old, new = superseded(world)
    assert world.hold("hold", old, legal=True).objects == 5, "two chunks, part, refs, manifest"
    world.store.advance(minutes=1)
    world.hold("hold", new, legal=True)
    world.store.advance(minutes=1)
    world.hold("release", old)
    held = {key for key in world.store.keys() if (info := world.store.head(key)) and info.legal_hold}  # noqa: SIM118
    needed = {chunk.key for chunk in world.chunks(new)} | {LAYOUT.manifest(new.id)}
    assert held == needed | {file.key for file in (*new.parts, *new.refs)}
    assert [note.what for note in list_notes(world.store, LAYOUT, old.id)] == ["hold", "release"]
