"""What was answered, moment by moment, and what that comes to: shares, times and outages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from statistics import median

from coffre.results.loadtest import Point, Span, Stage, SubjectKind, Watched

POINTS = 240
"""Points of a picture, at most."""


@dataclass(frozen=True)
class Sample:
    """One answer of one endpoint, or of the source.

    Attributes
    ----------
    at:
        When the question was put, in seconds from the beginning of the baseline.
    until:
        When the next one was due.
    moments:
        How many moments of the interval passed until the next question: an answer that took long stands for
        the questions that could not be put meanwhile, so a hanging application can't hide behind few answers.
    """

    subject: str
    kind: SubjectKind
    stage: Stage
    at: float
    until: float
    moments: int
    up: bool
    seconds: float
    reason: str = ""


def span(samples: Sequence[Sample]) -> Span:
    """What answers of one subject, in the order of their time, come to."""
    if not samples:
        return Span()
    times = list(chain.from_iterable(repeat(one.seconds, one.moments) for one in samples))
    return Span(
        asked=len(times),
        right=sum(one.moments for one in samples if one.up),
        median_seconds=round(median(times), 4),
        slowest_seconds=round(max(times), 4),
        outage_seconds=round(longest_outage(samples), 3),
        reason=next((one.reason for one in samples if not one.up), ""),
    )


def longest_outage(samples: Iterable[Sample]) -> float:
    """The longest time from a question without a right answer to the next right answer.

    If none comes any more, it lasts as long as the last question stands for.
    """
    longest, since = 0.0, None
    for one in samples:
        if not one.up and since is None:
            since = one.at
        if since is not None:
            longest = max(longest, (one.at + one.seconds if one.up else one.until) - since)
        if one.up:
            since = None
    return longest


def watched(samples: Sequence[Sample]) -> list[Watched]:
    """What each subject's answers come to, in the order in which subjects were first asked."""
    by_subject: dict[tuple[SubjectKind, str], list[Sample]] = {}
    for one in samples:
        by_subject.setdefault((one.kind, one.subject), []).append(one)
    return [_watched(subject, kind, found) for (kind, subject), found in by_subject.items()]


def _watched(subject: str, kind: SubjectKind, samples: Sequence[Sample]) -> Watched:
    meanwhile = [one for one in samples if one.stage != "baseline"]
    stages = dict.fromkeys(one.stage for one in meanwhile)
    return Watched(
        subject=subject,
        kind=kind,
        baseline=span([one for one in samples if one.stage == "baseline"]),
        meanwhile=span(meanwhile),
        stages={stage: span([one for one in meanwhile if one.stage == stage]) for stage in stages},
        points=points(samples),
    )


def points(samples: Sequence[Sample], most: int = POINTS) -> list[Point]:
    """The answers thinned out to at most ``most`` points: each the slowest of its piece of the time."""
    if not samples:
        return []
    piece = max((max(one.at for one in samples) + 1e-6) / most, 1e-6)
    pieces: dict[int, list[Sample]] = {}
    for one in samples:
        pieces.setdefault(int(one.at / piece), []).append(one)
    return [
        Point(
            at=round(found[0].at, 3),
            seconds=round(max(one.seconds for one in found), 4),
            wrong=sum(one.moments for one in found if not one.up),
        )
        for _, found in sorted(pieces.items())
    ]
