"""Object Lock: as long as the tier, longer with promotion, never shorter; and rotation waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.registration import TIERS, Retention
from coffre.errors import DeadlineExceededError
from coffre.ids import backup_id
from coffre.rotate.policy import BackupFacts
from coffre.rotate.promote import Promotion, promote, promotions
from coffre.vault.locks import LONGEST, Lock, LockRule
from coffre.vault.manifest import Manifest
from coffre.vault.reader import load_manifest
from coffre.vault.retention import extend
from tests.fakes.vault import DATABASE, put_backup
from tests.unit.rotate.conftest import LAYOUT, ONE, World

RULE = LockRule("COMPLIANCE", timedelta(days=2))
spans = st.timedeltas(timedelta(0), timedelta(days=10_000))
moments = st.integers(0, 80 * 366 * 86400).map(
    lambda s: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=s)
)


@pytest.fixture
def locked(world: World) -> Iterator[World]:
    """A world whose bucket has Object Lock."""
    world.store.rule = RULE
    return world  # type: ignore[return-value]


def locks(world: World, manifest: Manifest) -> dict[str, datetime | None]:
    """Until when each object of a backup is locked."""
    keys = [chunk.key for chunk in world.chunks(manifest)]
    keys += [file.key for file in (*manifest.parts, *manifest.refs)]
    infos = {key: world.store.head(key) for key in (*keys, LAYOUT.manifest(manifest.id))}
    return {key: info.locked_until if info else None for key, info in infos.items()}


@given(moments, spans)
def test_a_lock_lasts_as_long_as_its_tier_and_an_eighth_or_a_day_longer_at_most(
    taken: datetime, span: timedelta
) -> None:
    lock = RULE.of(taken, span)
    span = min(span or RULE.default, LONGEST - timedelta(days=1))
    assert lock.until >= taken + min(span, LONGEST - timedelta(days=1))
    assert lock.until <= taken + span + max(timedelta(days=1), span / 8)
    assert lock.until - taken < LONGEST


@given(moments, st.timedeltas(timedelta(days=1), timedelta(days=400)))
def test_backups_of_one_day_ask_for_at_most_two_locks(taken: datetime, span: timedelta) -> None:
    """A chunk that each of them uses again is locked anew once in a while, not each time."""
    ends = {RULE.of(taken + timedelta(minutes=30 * n), span).until for n in range(48)}
    assert len(ends) <= 2


def test_spans_follow_counts_and_days() -> None:
    retention = Retention(hourly=24, daily="14d", weekly=5, monthly=12, yearly=0)
    assert [retention.span(tier).days for tier in TIERS] == [1, 14, 35, 372, 0]


def test_a_lock_is_never_made_shorter(locked: World) -> None:
    manifest = locked.backup(["rows"])
    info = locked.store.head(LAYOUT.manifest(manifest.id))
    assert info is not None
    assert info.locked_until is not None
    assert not extend(locked.store, info, Lock("COMPLIANCE", info.locked_until - timedelta(days=1)))
    assert not [call for call in locked.store.calls if call[0] == "retain"]
    assert extend(locked.store, info, Lock("COMPLIANCE", info.locked_until + timedelta(days=1)))


def test_rotation_waits_for_a_lock_and_says_until_when(locked: World) -> None:
    old = locked.backup(["shared", "old"])
    locked.pass_days(1)
    new = locked.backup(["shared", "new"])
    until = min(end for end in locks(locked, old).values() if end is not None)
    dry = locked.rotate(dry_run=True)
    [decision] = [d for d in dry.decisions if d.backup_id == old.id]
    assert (decision.action, dry.immutable) == ("keep", "COMPLIANCE")
    assert decision.reasons[0] == f"locked: until {until:%Y-%m-%d %H:%M:%S} UTC"
    assert decision.locked_until is not None
    assert locked.rotate().model_copy(update={"dry_run": True}) == dry
    locked.store.now = until
    report = locked.rotate()
    assert {d.backup_id: d.action for d in report.decisions} == {old.id: "delete", new.id: "keep"}


def test_a_purge_waits_for_a_lock_without_trying_and_a_legal_hold_has_no_date(locked: World) -> None:
    """What the store would refuse isn't even asked for, so the dry run knows it as well."""
    locked.store.lock = Lock("COMPLIANCE", locked.store.now + timedelta(days=9))
    manifest = locked.backup(["unused"])
    [chunk] = locked.chunks(manifest)
    locked.store.mark_deleted(LAYOUT.manifest(manifest.id))  # its owner hid it
    locked.store.lock = None
    locked.store.advance(hours=8)
    locked.rotate()
    locked.store.advance(hours=8)
    dry = locked.rotate(dry_run=True)
    report = locked.rotate()
    assert report.model_copy(update={"dry_run": True}) == dry
    assert (report.purged_chunks, report.waiting_chunks) == (0, 1)
    assert report.locked_objects == 4, "chunk, part, refs, manifest"
    assert report.locked_until == "2026-11-29T03:00:00.000000Z"
    [version] = [v for v in locked.store.versions(chunk.key) if not v.marker]
    locked.store.legal_hold(chunk.key, version.version, on=True)
    locked.pass_days(9)
    report = locked.rotate()
    assert (report.locked_objects, report.locked_until) == (1, None)
    locked.store.legal_hold(chunk.key, version.version, on=False)
    assert locked.rotate().purged_chunks == 1
    assert not list(locked.store.versions(LAYOUT.chunks))


def test_promotion_extends_chunks_then_files_then_the_manifest(locked: World) -> None:
    retention = Retention(hourly=0, daily=2, weekly=0, monthly=12, keep_last=1)
    manifest = locked.backup(["shared"], kind="daily")
    locked.pass_days(1)
    assert locked.rotate(retention=retention).extended == [manifest.id], "its day is over: two days are kept"
    locked.backup(["shared", "more"], kind="daily")
    locked.pass_days(14)  # it is December: the second was the last of November
    locked.store.calls.clear()
    dry = locked.rotate(retention=retention, dry_run=True)
    report = locked.rotate(retention=retention)
    [promoted] = report.extended
    assert dry.extended == report.extended
    touched = [key for operation, key in locked.store.calls if operation == "retain"]
    assert touched[-1] == LAYOUT.manifest(promoted)
    assert {key.split("/")[1] for key in touched[:2]} == {"chunks"}
    until = datetime(2026, 11, 21, 3, tzinfo=UTC) + timedelta(days=372)
    newest, _ = load_manifest(locked.store, DATABASE, promoted)
    assert all(end is not None and end >= until for end in locks(locked, newest).values())
    assert locked.rotate(retention=retention).extended == [], "once"


def test_a_promotion_that_is_cut_short_is_done_again(locked: World) -> None:
    manifest = locked.backup(["one", "two"])
    lock = Lock("COMPLIANCE", locked.store.now + timedelta(days=50))

    def out_of_time() -> None:
        if any(operation == "retain" for operation, _ in locked.store.calls):
            raise DeadlineExceededError("no time")

    with pytest.raises(DeadlineExceededError):
        promote(locked.store, LAYOUT, Promotion(manifest.id, lock), out_of_time)
    assert locks(locked, manifest)[LAYOUT.manifest(manifest.id)] < lock.until  # type: ignore[operator]
    promote(locked.store, LAYOUT, Promotion(manifest.id, lock), lambda: None)
    assert set(locks(locked, manifest).values()) == {lock.until}


def test_a_tier_promotes_only_when_its_period_is_over() -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    retention = Retention(hourly=0, daily=0, weekly=0, monthly=12, keep_last=1)
    today = BackupFacts("today", now - timedelta(hours=1))
    october = BackupFacts("october", datetime(2026, 10, 31, tzinfo=UTC))
    assert [p.backup_id for p in promotions([today, october], retention, RULE, now)] == ["october"]


def test_nothing_is_said_to_be_immutable_in_a_bucket_without_object_lock(world: World) -> None:
    name = backup_id(DATABASE, "daily", world.store.now)
    put_backup(world.store, name, [b"rows\n"])
    world.store.calls.clear()
    report: Any = world.rotate(retention=ONE)
    assert (report.immutable, report.extended, report.locked_objects) == (None, [], 0)
    assert not [call for call in world.store.calls if call[0] in ("head", "retain")]
