"""What was answered before and during a load test, as the rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from coffre.report.text import duration, milliseconds, percent

if TYPE_CHECKING:
    from coffre.results import Span, Watched

COLUMNS = ("asked", "when", "answers", "right", "median", "slowest", "longest outage")
NUMBERS = COLUMNS[2:]


def spans(watched: Iterable[Watched], indent: str) -> Iterator[tuple[str, str, Span]]:
    """(who was asked, when, what was seen) of each row; who is told once.

    Parameters
    ----------
    indent:
        Stands before the names of stages.
    """
    for one in watched:
        yield one.subject, "before", one.baseline
        yield "", "meanwhile", one.meanwhile
        for stage, seen in one.stages.items():
            yield "", f"{indent}{stage}", seen


def cells(seen: Span) -> tuple[str, str, str, str, str]:
    """The columns `NUMBERS` of a row."""
    if seen.percent is None:
        return "0", "not measured", "", "", ""
    outage = duration(seen.outage_seconds) if seen.right < seen.asked else "none"
    times = milliseconds(seen.median_seconds), milliseconds(seen.slowest_seconds)
    return f"{seen.asked:,}", percent(seen.percent), *times, outage
