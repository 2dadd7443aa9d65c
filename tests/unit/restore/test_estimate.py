"""An estimate rests on what was measured, says on what, and never promises less than a restore took."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from coffre.catalogue.entries import RestoreEntry, RestoreKind
from coffre.restore.estimate import UNKNOWN, choose, estimate


def entry(kind: RestoreKind = "new", size: int = 1000, seconds: float = 10) -> RestoreEntry:
    """A measured restore."""
    time = "2026-11-20T03:00:00.000000Z"
    return RestoreEntry("shop", time, kind, "completed", bytes=size, milliseconds=round(seconds * 1000))


measured = st.lists(
    st.builds(
        entry,
        st.sampled_from(["new", "swap", "proof"]),
        st.integers(0, 10**12),
        st.floats(0.001, 10**4),
    ),
    min_size=1,
    max_size=30,
)


def test_without_a_measured_restore_nothing_is_guessed() -> None:
    failed = replace(entry(), status="failed")
    for history in ([], [failed], [entry("undo")]):
        assert (estimate(1000, history).seconds, estimate(1000, history).basis) == (None, UNKNOWN)


def test_proofs_count_only_where_no_restore_was_measured() -> None:
    assert estimate(1000, [entry("proof", seconds=5)]).seconds == 5
    assert "1 proof" in estimate(1000, [entry("proof")]).basis
    both = estimate(1000, [entry("proof", seconds=5), entry("swap", seconds=30)])
    assert (both.seconds, "1 restore" in both.basis) == (30, True)


def test_a_larger_backup_takes_longer_and_a_smaller_one_not_less() -> None:
    assert estimate(4000, [entry()]).seconds == 40
    assert estimate(10, [entry()]).seconds == 10


def test_it_says_whether_it_was_scaled_up_or_is_what_larger_ones_took() -> None:
    for size in (1000, 4000):
        assert "the median of 1 restore, scaled up by size" in estimate(size, [entry()]).basis
    for count, told in {1: "1 larger restore;", 2: "2 larger restores;"}.items():
        assert f"no more than the median of {told}" in estimate(58, [entry()] * count).basis
    assert "1 larger proof" in estimate(58, [entry("proof")]).basis
    assert "scaled up" in estimate(1500, [entry(), entry(size=2000)]).basis


@given(measured, st.integers(0, 10**12), st.integers(0, 10**12))
def test_more_bytes_never_take_less(history: list[RestoreEntry], one: int, other: int) -> None:
    less, more = (estimate(size, history).seconds for size in sorted((one, other)))
    assert less is not None
    assert more is not None
    assert less <= more


@given(measured, st.integers(0, 10**12))
def test_no_estimate_is_below_the_fastest_restore(history: list[RestoreEntry], size: int) -> None:
    seconds = estimate(size, history).seconds
    assert seconds is not None
    assert seconds >= round(min(item.milliseconds for item in history) / 1000, 1)


FUNCTION_SECONDS = 895.0


def test_what_was_measured_decides_where_a_restore_runs() -> None:
    measured = [entry(size=1_000_000, seconds=100.0)]
    assert choose(4_000_000, measured, FUNCTION_SECONDS).where == "function"
    choice = choose(6_000_000, measured, FUNCTION_SECONDS)
    assert choice.where == "machine"
    assert "about 600 s as measured" in choice.reason


def test_what_a_small_restore_or_the_state_machine_took_says_nothing_about_one_function() -> None:
    slow = [
        entry(size=1000, seconds=60.0),
        replace(entry(size=1_000_000_000, seconds=3000.0), where="machine"),
    ]
    choice = choose(1_000_000_000, slow, FUNCTION_SECONDS)
    assert (choice.where, "assumed" in choice.reason) == ("function", True)
    assert choose(10_000_000_000, slow, FUNCTION_SECONDS).where == "machine"


def test_what_was_asked_for_is_done_and_without_a_machine_one_function_does_it() -> None:
    assert choose(1, [], FUNCTION_SECONDS, runs="machine").where == "machine"
    assert choose(1 << 40, [], FUNCTION_SECONDS, runs="function").where == "function"
    alone = choose(1 << 40, [], FUNCTION_SECONDS, machine=False)
    assert (alone.where, "no state machine" in alone.reason) == ("function", True)
