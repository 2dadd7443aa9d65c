"""Shares, times and outages are those of the whole time, not only of the questions that could be put."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coffre.loadtest.samples import POINTS, Sample, longest_outage, points, span, watched
from coffre.results import Stage

URL = "http://127.0.0.1/health"


def sample(at: float, *, up: bool = True, seconds: float = 0.01, moments: int = 1, **more: object) -> Sample:
    """An answer to a question that was put then."""
    fields = {"subject": URL, "kind": "endpoint", "stage": "backup", "reason": "" if up else "answered 503"}
    when = {"at": at, "until": at + moments, "moments": moments, "up": up, "seconds": seconds}
    return Sample(**{**fields, **when, **more})  # type: ignore[arg-type]


@st.composite
def histories(draw: st.DrawFn) -> list[Sample]:
    """Answers one after the other, some of which took several moments."""
    found: list[Sample] = []
    at = 0
    for up, moments in draw(st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=40)):
        found.append(sample(float(at), up=up, moments=moments, seconds=moments - 0.5))
        at += moments
    return found


def test_an_answer_that_took_long_stands_for_the_questions_that_could_not_be_put() -> None:
    quick = [sample(float(n)) for n in range(10)]
    hung = sample(10.0, up=False, seconds=9.5, moments=10)
    seen = span([*quick, hung])
    assert (seen.asked, seen.right, seen.percent) == (20, 10, 50.0)
    assert seen.slowest_seconds == 9.5
    assert seen.reason == "answered 503"


def test_an_outage_lasts_from_the_first_wrong_answer_to_the_next_right_one() -> None:
    history = [
        sample(0),
        sample(1, up=False),
        sample(2, up=False),
        sample(3, seconds=0.5),
        sample(4, up=False),
    ]
    assert longest_outage(history) == 2.5
    assert longest_outage(history[-1:]) == 1.0, "no right answer came any more: as long as it stands for"
    assert longest_outage(history[:1]) == 0.0


def test_nothing_that_was_asked_is_no_share() -> None:
    assert span([]).percent is None
    assert points([]) == []


@given(histories())
def test_shares_are_of_all_moments_and_outages_no_longer_than_the_time(history: list[Sample]) -> None:
    seen = span(history)
    assert seen.asked == sum(one.moments for one in history)
    assert seen.right == sum(one.moments for one in history if one.up)
    whole = history[-1].until if history else 0.0
    assert 0 <= seen.outage_seconds <= whole
    assert (seen.outage_seconds > 0) == any(not one.up for one in history)
    if history:
        assert seen.median_seconds is not None
        assert seen.slowest_seconds is not None
        assert seen.median_seconds <= seen.slowest_seconds


@given(histories(), st.integers(1, 10))
def test_a_picture_keeps_every_wrong_answer_and_the_slowest(history: list[Sample], most: int) -> None:
    drawn = points(history, most)
    assert len(drawn) <= most <= POINTS
    assert sum(point.wrong for point in drawn) == sum(one.moments for one in history if not one.up)
    assert max((point.seconds for point in drawn), default=0) == max(
        (one.seconds for one in history), default=0
    )


@given(histories(), st.lists(st.sampled_from(["baseline", "backup", "proof", "restore"]), min_size=40))
def test_stages_and_baseline_together_are_everything(history: list[Sample], stages: list[Stage]) -> None:
    staged = [
        sample(one.at, up=one.up, moments=one.moments, stage=stages[n]) for n, one in enumerate(history)
    ]
    for one in watched(staged):
        assert one.baseline.asked + one.meanwhile.asked == sum(each.moments for each in history)
        assert one.meanwhile.asked == sum(seen.asked for seen in one.stages.values())


def test_subjects_are_told_apart() -> None:
    other = sample(0.5, up=False, subject="a new session", kind="source")
    first, second = watched([sample(0), other, sample(1)])
    assert (first.subject, first.meanwhile.percent) == (URL, 100.0)
    assert (second.kind, second.meanwhile.percent) == ("source", 0.0)
