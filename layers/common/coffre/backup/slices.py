"""What a worker of the state machine is asked, one after the other, in the time that it has.

A worker that may not finish reads an item's pages in ranges, so that it can stop at the end of one: nobody
knows where in a table the last row of a COPY was that was broken off.  It always does so with a piece of a
large table, which is a range itself: no cache is spared by one COPY, and a source that is slower than was
thought is noticed before the time is over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from coffre.backup.feed import item_message
from coffre.backup.plan import ALIGN_PAGES, WorkItem, together
from coffre.databases.postgresql.statements import Pages
from coffre.workers import Message

SLOW_BYTES_PER_SECOND = 10_000_000
"""What a worker is trusted to read in any case, until it has shown otherwise."""

SLICE_BYTES = 128 << 20
SLICES = 20
"""Page ranges that are read one after the other: of 128 MiB, or a twentieth of what fits into the time."""


@dataclass
class Clock:
    """The time that this worker has, and how fast it reads; on `time.monotonic`'s clock.

    Attributes
    ----------
    stops:
        When it reads no further rows; what comes then is the last uploads and the part.
    ends:
        When it must have ended.
    size:
        Bytes on the source's disk that were read until now.
    """

    began: float
    stops: float
    ends: float
    size: int = 0

    @property
    def left(self) -> float:
        """Seconds in which rows may still be read."""
        return self.stops - time.monotonic()

    def needs(self, size: int) -> float:
        """Seconds that ``size`` bytes will take: as those until now did, with a margin."""
        spent = time.monotonic() - self.began
        measured = self.size >= min(self.slice_bytes(), SLICE_BYTES // 8)
        rate = self.size / spent if measured else SLOW_BYTES_PER_SECOND
        return 1.5 * size / rate

    def slice_bytes(self) -> int:
        """How much is read in one go where there may be no time for all."""
        return min(SLICE_BYTES, int(SLOW_BYTES_PER_SECOND * (self.stops - self.began) / SLICES))


@dataclass
class Outcome:
    """What was read, and what there was no time for."""

    ends: list[Message] = field(default_factory=list)
    rest: list[WorkItem] = field(default_factory=list)


def steps(
    items: list[WorkItem], clock: Clock, snapshot: str, outcome: Outcome, *, by_pages: bool
) -> Iterator[Message]:
    """What the worker is asked, one after the other; asked for only when the step before is done."""
    position = 0
    for group in together(items):
        item, size = group[0], sum(one.size for one in group)
        fits = clock.needs(size) <= clock.left
        if position and not fits and clock.left <= 0:
            outcome.rest = items[position:]
            return
        is_whole = len(group) > 1 or (fits and not by_pages and item.pages is None)
        ranges = [] if is_whole else slices(item, clock.slice_bytes())
        if len(ranges) < 2:
            if position and not fits:
                outcome.rest = items[position:]
                return
            yield item_message(group, snapshot)
            clock.size += size
            position += len(group)
            continue
        share = item.size // len(ranges)
        read = 0
        for pages in ranges:
            if read and clock.needs(share) > clock.left:
                break
            message = item_message([replace(item, pages=pages)], snapshot)
            yield {**message, "step": "read" if read else "begin"}
            clock.size += share
            read += 1
        yield {"step": "end"}
        position += 1
        if read < len(ranges):
            outcome.rest = [_remaining(item, ranges[read][0], read / len(ranges)), *items[position:]]
            return


def slices(item: WorkItem, size: int) -> list[Pages]:
    """An item's pages in ranges of about ``size`` bytes, each a power of two; the last one as it ends."""
    first, after = item.pages or (0, None)
    last = after if after is not None else max(item.heap, first + 1)
    count = last - first
    if item.relation.kind == "extension_config" or item.heap < 2:
        return [(first, after)]
    step = ALIGN_PAGES
    while step > 1 and item.size * step > size * count:
        step //= 2
    starts = [first, *range((first // step + 1) * step, last, step)]
    return [*pairwise(starts), (starts[-1], after)]


def _remaining(item: WorkItem, first: int, share: float) -> WorkItem:
    """What is left of an item from page ``first`` on: a section of its own."""
    relation = item.relation
    after = item.pages[1] if item.pages else None
    number = relation.pieces + first  # no piece of the plan has it, nor has another rest
    return WorkItem(replace(relation, piece=number), int(item.size * (1 - share)), (first, after), item.heap)
