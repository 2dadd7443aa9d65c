"""The retention policy: what is kept, what is deleted, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from coffre.databases.registration import TIERS, Retention
from coffre.events.base import Verdict
from coffre.rotate.policy import BackupFacts, decide

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CASES = json.loads(Path(__file__).with_name("retention.json").read_text())


def facts(text: str) -> BackupFacts:
    """A backup from ``20261120T030000Z`` or ``20261120T030000Z=proven``."""
    moment, _, verdict = text.partition("=")
    time = datetime.strptime(moment[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return BackupFacts(text, time, verdict or None)  # type: ignore[arg-type]


def kept(backups: Sequence[BackupFacts], retention: Retention, now: datetime = NOW) -> set[str]:
    return {d.backup_id for d in decide(backups, retention, now) if d.action == "keep"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_the_policy_keeps_what_the_golden_file_says_for_the_reasons_it_says(case: dict[str, Any]) -> None:
    decisions = decide([facts(text) for text in case["backups"]], Retention(**case["retention"]), NOW)
    keeps = {d.backup_id: list(d.reasons) for d in decisions if d.action == "keep"}
    assert keeps == case["keep"]


def test_bad_backups_never_evict_the_proven_ones() -> None:
    """C01: newer backups that failed or were never proven don't push out the last proven one."""
    bad = [facts(f"202611{day:02}T030000Z={'failed' if day % 2 else 'inconclusive'}") for day in range(5, 20)]
    good = [facts("20261103T030000Z=proven"), facts("20261102T030000Z=proven")]
    retention = Retention(hourly=0, daily=1, weekly=0, monthly=0, keep_last=2, cap=1)
    assert {"20261103T030000Z=proven", "20261102T030000Z=proven"} <= kept([*bad, *good], retention)


def test_a_failed_backup_goes_once_a_newer_one_is_proven() -> None:
    failed, proven = facts("20261118T030000Z=failed"), facts("20261119T030000Z=proven")
    assert kept([failed], Retention()) == {failed.backup_id}
    assert kept([failed, proven], Retention()) == {proven.backup_id}


def test_a_held_backup_is_kept_and_says_why() -> None:
    held = replace(facts("20200101T030000Z"), holds=("hold of 2020-02-01",))
    newer = [facts(f"202611{day:02}T030000Z") for day in range(1, 20)]
    retention = Retention(hourly=0, daily=1, weekly=0, monthly=0, keep_last=1, cap=1)
    decisions = {d.backup_id: d for d in decide([held, *newer], retention, NOW)}
    assert decisions[held.backup_id].action == "keep"
    assert decisions[held.backup_id].reasons == ("held: hold of 2020-02-01",)


@pytest.mark.parametrize("time", ["20261120T113000Z", "20261120T103000Z"], ids=["in no tier", "over the cap"])
def test_a_hold_costs_no_other_backup_its_place_under_a_cap(time: str) -> None:
    """A restore that reads a backup holds it, too: it must not have another one deleted."""
    capped = Retention(hourly=3, daily=0, weekly=0, monthly=0, keep_last=1, cap=2)
    newest, hour, old = facts("20261120T120000Z"), facts("20261120T114500Z"), facts(time)
    assert kept([newest, hour, old], capped) == {newest.backup_id, hour.backup_id}
    held = replace(old, holds=("a restore reads it",))
    assert kept([newest, hour, held], capped) == {newest.backup_id, hour.backup_id, held.backup_id}


def test_a_backup_from_the_future_is_kept_and_takes_nobodys_place() -> None:
    future, present = facts("20991231T030000Z=proven"), facts("20261120T030000Z=proven")
    retention = Retention(hourly=0, daily=1, weekly=0, monthly=0, keep_last=1)
    decisions = decide([present, future], retention, NOW)
    assert [d.action for d in decisions] == ["keep", "keep"]
    assert decisions[0].reasons[0].startswith("future: its time 2099-12-31 03:00:00 is still to come")


def test_what_object_lock_keeps_anyway_stays_visible_and_says_until_when() -> None:
    old = replace(facts("20261101T030000Z"), locked=NOW + timedelta(days=2))
    new = facts("20261120T030000Z")
    retention = Retention(hourly=0, daily=0, weekly=0, monthly=0, keep_last=1)
    decision = decide([old, new], retention, NOW)[1]
    assert decision.action == "keep"
    assert decision.reasons[0] == "locked: until 2026-11-22 12:00:00 UTC"
    assert decision.reasons[1].startswith("then: superseded")
    assert kept([old, new], retention, NOW + timedelta(days=2)) == {new.backup_id}


def test_a_proof_in_doubt_is_kept_until_a_newer_backup_is_proven() -> None:
    doubted = replace(facts("20261101T030000Z=inconclusive"), doubted=True)
    retention = Retention(hourly=0, daily=0, weekly=0, monthly=0, keep_last=1)
    assert doubted.backup_id in kept([doubted, facts("20261120T030000Z")], retention)
    assert doubted.backup_id not in kept([doubted, facts("20261120T030000Z=proven")], retention)


def test_the_newest_sample_is_kept_until_a_newer_backup_is_proven_and_takes_no_proofs_place() -> None:
    """C01: a sample is no proof, and the best that some databases have."""
    samples = [replace(facts(f"202611{day:02}T030000Z=inconclusive"), sampled=True) for day in (1, 2)]
    retention = Retention(hourly=0, daily=0, weekly=0, monthly=0, keep_last=1)
    proven, rest = facts("20261010T030000Z=proven"), facts("20261119T030000Z=inconclusive")
    decisions = {d.backup_id: d for d in decide([*samples, proven, rest], retention, NOW)}
    assert decisions[samples[1].backup_id].reasons == (
        "sampled: the newest that was proven by sample, and no newer backup is proven",
    )
    assert decisions[proven.backup_id].action == "keep", "however many samples there are since"
    assert decisions[samples[0].backup_id].action == "delete"
    newer = facts("20261120T030000Z=proven")
    assert samples[1].backup_id not in kept([*samples, rest, newer], retention)
    failed = facts("20261101T020000Z=failed")
    assert failed.backup_id in kept([*samples, failed], retention), "only a proof lets a failed one go"


@pytest.mark.parametrize("value", ["7", "0d", "d", "-3d", "7 d", "7w", -1, 1.5, True, "100000d"])
def test_a_tier_is_a_count_or_days(value: Any) -> None:
    with pytest.raises(ValidationError):
        Retention.model_validate({"daily": value})


def test_every_backup_gets_a_decision_even_of_one_second() -> None:
    twins = [BackupFacts("b", NOW), BackupFacts("a", NOW)]
    decisions = decide(twins, Retention(hourly=1, daily=0, weekly=0, monthly=0, keep_last=1), NOW)
    assert [(d.backup_id, d.action) for d in decisions] == [("b", "keep"), ("a", "delete")]


times = st.integers(0, 60 * 24 * 800).map(lambda minutes: NOW - timedelta(minutes=minutes))
verdicts: st.SearchStrategy[Verdict | None] = st.sampled_from([None, "proven", "failed", "inconclusive"])
backups = st.lists(st.tuples(times, verdicts, st.booleans()), max_size=40).map(
    lambda rows: [
        BackupFacts(f"{i:03}", time, verdict, sampled=sampled and verdict == "inconclusive")
        for i, (time, verdict, sampled) in enumerate(rows)
    ]
)
small = st.integers(0, 8) | st.integers(1, 60).map(lambda days: f"{days}d")
retentions = st.builds(
    Retention,
    hourly=small,
    daily=small,
    weekly=small,
    monthly=small,
    yearly=small,
    keep_last=st.integers(1, 5),
    cap=st.none() | st.integers(1, 12),
)


def newest_first(some: list[BackupFacts]) -> list[BackupFacts]:
    return sorted(some, key=lambda backup: (backup.time, backup.backup_id), reverse=True)


@given(backups, retentions)
def test_the_floor_and_the_last_proven_backup_always_stay(
    some: list[BackupFacts], retention: Retention
) -> None:
    """C01 and C03: whatever the policy says, the newest N and the last proven backup are there."""
    stay = kept(some, retention)
    good = [backup for backup in newest_first(some) if backup.verdict != "failed"]
    proven = [backup for backup in good if backup.verdict == "proven"]
    assert {b.backup_id for b in good[: retention.keep_last]} <= stay
    assert {b.backup_id for b in proven[: retention.keep_last]} <= stay


@given(backups, retentions)
def test_every_decision_has_a_reason_and_the_order_of_input_does_not_matter(
    some: list[BackupFacts], retention: Retention
) -> None:
    decisions = decide(some, retention, NOW)
    assert sorted(d.backup_id for d in decisions) == sorted(b.backup_id for b in some)
    assert all(d.reasons for d in decisions)
    assert decide(some[::-1], retention, NOW) == decisions


@given(backups, retentions, verdicts, st.booleans())
def test_a_newer_backup_never_resurrects_an_older_one(
    some: list[BackupFacts], retention: Retention, verdict: Any, sampled: bool
) -> None:
    """What would be deleted would also be deleted after one more good backup.

    A cap is left out: it compares backups of different tiers, so a place that becomes free is taken again.
    """
    retention = retention.model_copy(update={"cap": None})
    verdict = "inconclusive" if verdict == "failed" else verdict
    sampled = sampled and verdict == "inconclusive"
    newer = BackupFacts("newer", NOW + timedelta(minutes=1), verdict, sampled=sampled)
    after = kept([*some, newer], retention, NOW + timedelta(minutes=1))
    assert after - {"newer"} <= kept(some, retention)


@given(backups, retentions)
def test_deciding_again_on_what_was_kept_deletes_nothing(
    some: list[BackupFacts], retention: Retention
) -> None:
    """C03: a rotation that runs twice does no more than one that runs once."""
    stay = kept(some, retention)
    assert kept([b for b in some if b.backup_id in stay], retention) == stay


@given(backups, retentions)
def test_the_cap_limits_what_tiers_keep(some: list[BackupFacts], retention: Retention) -> None:
    good = [backup for backup in some if backup.verdict != "failed"]
    stay = kept(good, retention)
    if retention.cap is not None:
        assert len(stay) <= max(retention.cap, 2 * retention.keep_last + 1), "and the newest sample"


@given(backups, retentions, st.integers(0, 39))
def test_a_hold_never_has_another_backup_deleted(
    some: list[BackupFacts], retention: Retention, number: int
) -> None:
    """Nor does a restore that reads one: it holds it for a while."""
    held = [
        replace(backup, holds=("by somebody",)) if n == number % len(some) else backup
        for n, backup in enumerate(some)
    ]
    assert kept(some, retention) <= kept(held, retention)


@given(backups, retentions.map(lambda retention: retention.model_copy(update={"cap": None})), st.randoms())
def test_rotating_after_each_backup_keeps_what_one_rotation_would_keep(
    some: list[BackupFacts], retention: Retention, chance: Any
) -> None:
    """In whatever order they come, nothing is kept for ever; in their own order nothing is lost."""
    assert rotated(newest_first(some)[::-1], retention) == kept(some, retention)
    shuffled = list(some)
    chance.shuffle(shuffled)
    assert rotated(shuffled, retention) <= kept(some, retention)


def rotated(coming: list[BackupFacts], retention: Retention) -> set[str]:
    """What is there in the end if each backup that comes is followed by a rotation."""
    there: list[BackupFacts] = []
    for backup in coming:
        stay = kept([*there, backup], retention)
        there = [one for one in (*there, backup) if one.backup_id in stay]
    return {one.backup_id for one in there}


@given(backups, retentions, st.integers(0, 5_000))
def test_time_alone_deletes_nothing(some: list[BackupFacts], retention: Retention, days: int) -> None:
    assert kept(some, retention, NOW + timedelta(days=days)) == kept(some, retention)


@given(backups, retentions, times)
def test_a_failed_backup_changes_nothing_for_the_others(
    some: list[BackupFacts], retention: Retention, time: datetime
) -> None:
    failed = BackupFacts("failed", time, "failed")
    assert kept([*some, failed], retention) - {"failed"} == kept(some, retention)


@given(backups, retentions, st.sampled_from(["keep_last", *TIERS]), st.integers(1, 5))
def test_a_policy_that_keeps_more_deletes_nothing_more(
    some: list[BackupFacts], retention: Retention, field: str, more: int
) -> None:
    """A cap is left out, as above."""
    less = retention.model_copy(update={"cap": None})
    value = getattr(less, field)
    raised = value + more if isinstance(value, int) else f"{int(value[:-1]) + more}d"
    assert kept(some, less) <= kept(some, less.model_copy(update={field: raised}))
