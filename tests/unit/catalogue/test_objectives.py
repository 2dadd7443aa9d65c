"""The objectives that are met are computed from what happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.catalogue.entries import BackupEntry, RestoreEntry
from coffre.catalogue.objectives import Usable, fit, longest_exposure, usable
from coffre.health.score import Facts, ServerFacts, score

START = datetime(2026, 11, 1, tzinfo=UTC)
HOURS = st.integers(0, 400)


def hour(number: float) -> datetime:
    """An hour after the start."""
    return START + timedelta(hours=number)


def restore(size: int, seconds: float, kind: str = "new", status: str = "completed") -> RestoreEntry:
    """A restore that was measured."""
    return RestoreEntry(
        "shop",
        "2026-11-20T00:00:00.000000Z",
        kind,  # type: ignore[arg-type]
        status,  # type: ignore[arg-type]
        bytes=size,
        milliseconds=round(seconds * 1000),
    )


def test_a_restore_time_that_grows_past_the_rto_takes_points_and_has_its_reason() -> None:
    def rated(history: list[RestoreEntry]) -> tuple[int, list[str], float]:
        curve = fit(reversed(history))
        assert curve is not None
        seconds = curve.seconds(history[-1].bytes)
        server = ServerFacts("18.4")
        facts = Facts("shop", server, 60, 60, rpo_hours=26, restore_seconds=seconds, rto_minutes=1)
        points, reasons = score(facts)
        return points, [reason.code for reason in reasons], seconds

    proofs = [restore(size * 10**9, 10 * size, "proof") for size in range(1, 7)]
    assert rated(proofs) == (100, [], pytest.approx(60))
    points, codes, seconds = rated([*proofs, restore(7 * 10**9, 70, "proof")])
    assert (points, codes, seconds) == (90, ["restore-slow"], pytest.approx(70))


def lost_at(backups: list[Usable], moment: datetime) -> float | None:
    """By definition: from the newest instant that a usable backup shows to the moment."""
    instants = [backup.taken for backup in backups if backup.ready <= moment]
    return (moment - max(instants)).total_seconds() if instants else None


def test_a_day_without_a_backup_shows_as_long_as_it_is_in_the_period() -> None:
    backups = [Usable(hour(h), hour(h + 1)) for h in (0, 24, 72, 96)]
    assert longest_exposure(backups, hour(30), hour(100)) == (73 - 24) * 3600
    assert longest_exposure(backups, hour(80), hour(100)) == (97 - 72) * 3600
    assert longest_exposure(backups, hour(98), hour(200)) == (200 - 96) * 3600


def test_backups_that_are_gone_meet_no_objective() -> None:
    kept = [Usable(hour(0), hour(1), gone=hour(30)), Usable(hour(24), hour(25))]
    assert longest_exposure(kept, hour(0), hour(40)) == 25 * 3600, "rotation takes what newer ones replace"
    gone = [Usable(one.taken, one.ready, hour(39)) for one in kept]
    assert longest_exposure(gone, hour(0), hour(40)) is None


def test_proofs_dont_push_a_measured_restore_out_of_sight() -> None:
    drill, proofs = restore(10**9, 3600, "drill"), [restore(10**9, 300, "proof")] * 1500
    curve = fit([*proofs, drill])
    assert curve is not None
    assert (curve.measured, curve.seconds(10**9)) == (1, pytest.approx(3600))


def test_without_a_backup_nothing_is_claimed() -> None:
    assert longest_exposure([], hour(0), hour(10)) is None
    assert longest_exposure([Usable(hour(8), hour(11))], hour(0), hour(10)) is None


@given(st.lists(st.tuples(HOURS, st.integers(1, 30)), max_size=12), HOURS, st.integers(1, 100))
def test_no_moment_of_the_period_would_have_cost_more(
    made: list[tuple[int, int]], begin: int, length: int
) -> None:
    backups = sorted((Usable(hour(h), hour(h + took)) for h, took in made), key=lambda b: b.ready)
    since, now = hour(begin), hour(begin + length)
    found = longest_exposure(backups, since, now)
    moments = [begin + step / 4 for step in range(4 * length + 1)]
    losses = [loss for h in moments if (loss := lost_at(backups, hour(h))) is not None]
    assert (found is None) == (not losses)
    if found is not None:
        assert found >= max(losses)
        assert found - max(losses) <= 900, "and it is no more than what the worst moment cost"


@pytest.mark.parametrize(
    ("verdict", "proven", "counts"),
    [("proven", True, True), ("failed", True, False), (None, True, False), ("failed", False, True)],
)
def test_only_proven_backups_count_where_proof_is_asked(
    verdict: str | None, proven: bool, counts: bool
) -> None:
    entry = BackupEntry(
        "shop",
        "20261101T000000Z-daily-000000",
        "daily",
        "completed",
        started="2026-11-01T00:00:00.000000Z",
        completed="2026-11-01T00:10:00.000000Z",
        verified="2026-11-01T00:20:00.000000Z",
        verdict=verdict,  # type: ignore[arg-type]
    )
    found = usable([entry], proven=proven)
    assert bool(found) is counts
    if counts:
        assert found[0].ready.minute == (20 if proven else 10)


def test_the_curve_tells_what_a_restore_takes() -> None:
    curve = fit([restore(size * 10**9, 30 + 5 * size) for size in (1, 2, 3, 8)])
    assert curve is not None
    assert curve.seconds(20 * 10**9) == pytest.approx(130, rel=0.01)
    assert curve.measured == 4


def test_a_slow_restore_is_not_averaged_away() -> None:
    curve = fit([restore(10**9, 10), restore(10**9, 10), restore(10**9, 40)])
    assert curve is not None
    assert curve.seconds(10**9) == pytest.approx(40)


def test_proofs_count_only_where_no_restore_was_measured() -> None:
    proofs = [restore(10**9, 5, "proof")]
    curve, of_proofs = fit([*proofs, restore(10**9, 50)]), fit(proofs)
    assert curve is not None
    assert of_proofs is not None
    assert (curve.measured, round(curve.seconds(10**9))) == (1, 50)
    assert round(of_proofs.seconds(10**9)) == 5


@pytest.mark.parametrize(
    "entry", [restore(10**9, 5, status="failed"), restore(10**9, 0), restore(1, 5, "undo")]
)
def test_what_measures_nothing_is_left_out(entry: RestoreEntry) -> None:
    assert fit([entry]) is None


SIZES = st.tuples(st.integers(0, 10**12), st.floats(0.001, 10**5))


@given(st.lists(SIZES, min_size=1, max_size=20), st.integers(0, 10**12))
def test_more_bytes_never_take_less_and_no_measured_restore_took_longer(
    points: list[tuple[int, float]], size: int
) -> None:
    entries = [restore(bytes_, seconds) for bytes_, seconds in points]
    curve = fit(entries)
    if not any(entry.milliseconds for entry in entries):
        assert curve is None
        return
    assert curve is not None
    assert curve.seconds(2 * size) >= curve.seconds(size) >= 0
    for entry in entries:
        line = curve.base + curve.per_byte * entry.bytes
        if line > 0:
            assert curve.seconds(entry.bytes) >= entry.milliseconds / 1000 * 0.999_999
