"""However often its time ends, a worker reads each page once, and gets on each time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.backup import slices as module
from coffre.backup.plan import ALIGN_PAGES, WorkItem, together
from coffre.backup.slices import SLOW_BYTES_PER_SECOND, Clock, Outcome, slices, steps
from coffre.vault.parts import Relation, decode_record

SECONDS = 10.0
heaps = st.integers(0, 1 << 22)
sizes = st.integers(0, 1 << 36)


def item(size: int, heap: int, number: int = 1) -> WorkItem:
    """A whole table."""
    return WorkItem(Relation(number, "table", "public", f"t{number}", "me"), size, None, heap)


@given(size=sizes, heap=heaps, wanted=st.integers(1, 1 << 28))
@settings(max_examples=60)
def test_ranges_follow_each_other_from_the_first_page_to_an_open_end(
    size: int, heap: int, wanted: int
) -> None:
    wanted = max(wanted, size // 2000)
    ranges = slices(item(size, heap), wanted)
    assert ranges[0][0] == 0
    assert ranges[-1][1] is None
    assert all(one[1] == two[0] for one, two in pairwise(ranges))
    assert all(
        start % ALIGN_PAGES == 0 or ALIGN_PAGES % (start & -start) == 0 for start, _ in ranges if start
    )


class World:
    """A worker that reads ``speed`` bytes in a second, and a clock that follows it."""

    def __init__(self, speed: float) -> None:
        self.now = 0.0
        self.speed = speed

    def monotonic(self) -> float:
        """The time."""
        return self.now

    def work(self, items: list[WorkItem], *, by_pages: bool) -> tuple[list[dict[str, Any]], list[WorkItem]]:
        """One invocation: what was read, and the rest."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "time", self)
            clock, outcome = Clock(self.now, self.now + SECONDS, self.now + 2 * SECONDS), Outcome()
            asked, before = [], 0
            for step in steps(items, clock, "snapshot", outcome, by_pages=by_pages):
                asked.append(step)
                self.now += (clock.size - before) / self.speed + 0.001
                before = clock.size
        return asked, outcome.rest


@given(
    tables=st.lists(st.tuples(st.integers(0, 3 << 28), st.integers(0, 1 << 16)), min_size=1, max_size=8),
    speed=st.floats(1e6, 1e9),
    by_pages=st.booleans(),
)
@settings(max_examples=60)
def test_an_item_and_its_rests_are_read_once_and_whole(
    tables: list[tuple[int, int]], speed: float, by_pages: bool
) -> None:
    world = World(speed)
    items = [item(size, heap, number) for number, (size, heap) in enumerate(tables)]
    read: dict[int, list[tuple[int, int | None]]] = {}
    sections: set[tuple[int, int]] = set()
    rounds = 0
    while items:
        asked, items = world.work(items, by_pages=by_pages)
        assert asked, "an invocation must get on"
        for step in asked:
            if step.get("step") == "end":
                continue
            relation = decode_record(step["relation"].encode())
            assert isinstance(relation, Relation)
            read.setdefault(relation.id, []).append(step["pages"] or (0, None))
            if step.get("step") != "read":
                assert (relation.id, relation.piece) not in sections, "two sections of one name"
                sections.add((relation.id, relation.piece))
        rounds += 1
        assert rounds < 5000
    assert read.keys() == set(range(len(tables)))
    for ranges in read.values():
        assert ranges[0][0] == 0
        assert ranges[-1][1] is None
        assert all(one[1] == two[0] for one, two in pairwise(ranges))


@given(sizes=st.lists(st.integers(0, 1 << 16), min_size=2, max_size=60), speed=st.floats(1e4, 1e8))
@settings(max_examples=40)
def test_what_shares_a_chunk_is_never_parted(sizes: list[int], speed: float) -> None:
    """However slow the source is: else the next backup would find no chunk of this one's again."""
    wanted = [replace(item(size, 8, number), shared=1 + number // 7) for number, size in enumerate(sizes, 1)]
    world, items, read = World(speed), wanted, []
    while items:
        asked, items = world.work(items, by_pages=True)
        assert asked, "an invocation must get on"
        read += asked
    got = [[decode_record(one["relation"].encode()) for one in step.get("shared", [step])] for step in read]
    assert got == [[one.relation for one in group] for group in together(wanted)]


def test_what_surely_fits_is_read_by_a_plain_copy() -> None:
    asked, rest = World(1e9).work([item(int(SLOW_BYTES_PER_SECOND), 2000)], by_pages=False)
    assert [step["pages"] for step in asked] == [None]
    assert not rest


@given(speed=st.floats(6e5, 1e9))
@settings(max_examples=30)
def test_a_piece_of_a_large_table_is_stopped_in_time_however_slow_the_source_is(speed: float) -> None:
    """It would fit at the speed that is taken for granted: by one COPY, all workers ran out of time."""
    piece = Relation(1, "table", "public", "large", "me", piece=1, pieces=4)
    items = [WorkItem(piece, int(6 * SLOW_BYTES_PER_SECOND), (1 << 14, 1 << 15), 1 << 16)]
    world, read = World(speed), 0
    while items:
        began = world.now
        asked, items = world.work(items, by_pages=False)
        assert world.now - began < 2 * SECONDS
        read += len([step for step in asked if step.get("step") != "end"])
    assert read > 1
