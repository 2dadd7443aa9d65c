"""Items of a restore: every row and every page in exactly one of them, whatever the backup looks like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coffre.events.restore_machine import LoadItem
from coffre.restore.pieces import (
    ITEM_RELATIONS,
    ITEMS,
    PIECE_BYTES,
    Stored,
    cut,
    plan_digests,
    plan_rows,
    runs,
)
from coffre.restore.steps import OBJECT_ITEMS
from coffre.vault.parts import Chunk, End, Record, Relation, Role

STATE_BYTES = (256 - 16) << 10
"""What a state machine hands on at most, without what it tells of the run and of the function's answer."""

sections = st.lists(st.lists(st.integers(1, 40 << 20), max_size=12), max_size=6)
relations = st.lists(st.tuples(st.integers(0, 1 << 36), st.integers(0, 1 << 22)), max_size=60)


def relation(number: int) -> Relation:
    """A table."""
    return Relation(number, "table", "public", f"t{number}", "me")


def part_of(sizes: list[list[int]]) -> Iterator[Record]:
    """A part with a section for each list of chunk sizes."""
    yield Role("me", ())
    for number, chunks in enumerate(sizes):
        yield relation(number)
        for position, size in enumerate(chunks):
            yield Chunk(f"{number}.{position}", "key", "zstd", 1, size, 1, "")
        yield End(number, len(chunks), sum(chunks), "0")


@given(sizes=sections, run_bytes=st.integers(1, 100 << 20))
def test_runs_hold_each_chunk_once_in_order_and_never_two_relations(
    sizes: list[list[int]], run_bytes: int
) -> None:
    found = list(runs(part_of(sizes), run_bytes))
    ids = [chunk.id for run in found for chunk in run.chunks]
    assert ids == [f"{n}.{p}" for n, chunks in enumerate(sizes) for p in range(len(chunks))]
    assert [run.number for run in found] == list(range(len(found)))
    assert all(chunk.id.startswith(f"{run.relation.id}.") for run in found for chunk in run.chunks)
    assert all(sum(c.bytes for c in run.chunks[:-1]) < run_bytes for run in found)


@given(parts=st.lists(st.lists(st.integers(1, 1 << 32), max_size=30), max_size=20))
def test_every_run_is_in_exactly_one_item_and_the_largest_comes_first(parts: list[list[int]]) -> None:
    items = plan_rows(parts, sum(map(sum, parts)))
    covered = [(item.part, run) for item in items for run in range(item.first, item.end)]
    assert sorted(covered) == [(p, n) for p, sizes in enumerate(parts) for n in range(len(sizes))]
    loads = [sum(parts[item.part][item.first : item.end]) for item in items]
    assert loads == sorted(loads, reverse=True)
    assert len(items) <= ITEMS + len(parts)
    assert [item.number for item in items] == list(range(1, len(items) + 1))


@given(sizes=relations, gap=st.integers(1, 3))
def test_every_page_of_every_relation_is_compared_once(sizes: list[tuple[int, int]], gap: int) -> None:
    stored = {number * gap: Stored(size, pages) for number, (size, pages) in enumerate(sizes)}
    items = plan_digests(stored)
    seen: dict[int, list[tuple[int, int | None]]] = {number: [] for number in stored}
    for item in items:
        assert item.pages is None or item.end == item.first + 1
        assert item.end - item.first <= ITEM_RELATIONS
        for number in range(item.first, item.end):
            seen[number].append(item.pages or (0, None))
    for ranges in seen.values():
        ranges.sort(key=lambda pages: pages[0])
        assert ranges[0][0] == 0
        assert ranges[-1][1] is None
        assert all(one[1] == two[0] for one, two in pairwise(ranges))


def test_the_items_of_the_largest_databases_fit_into_a_state() -> None:
    stored = {number: Stored(50 << 20, 6400) for number in range(100_000)} | {
        100_000: Stored(5 << 40, 6 << 27)
    }
    items = plan_digests(stored)
    assert len(items) <= 2 * ITEMS
    assert size_of(items) < STATE_BYTES
    items = plan_rows([[64 << 20] * 80] * 1200, 1200 * 80 * (64 << 20))
    assert size_of(items) < STATE_BYTES


PARTS_MOST = 2900
"""As many as a manifest of 1 MiB can name, and early versions wrote (`coffre.backup.joining`)."""


@pytest.mark.parametrize("parts", [1, ITEMS, 2 * ITEMS, PARTS_MOST])
@pytest.mark.parametrize("large", [0, ITEMS // 3, 2 * ITEMS // 3, ITEMS])
def test_rows_fit_into_a_state_however_a_backup_is_divided(parts: int, large: int) -> None:
    """Each part is at least one item, and one that is a little larger than an item should be is two."""
    sizes = [[25 << 30] * 40 if number < large else [1 << 20] for number in range(parts)]
    assert size_of(plan_rows(sizes, sum(map(sum, sizes)))) < STATE_BYTES


@given(shares=st.lists(st.floats(0.1, 3.5), min_size=1, max_size=8))
@example(shares=[1.05, 0.01])
@settings(max_examples=30, deadline=None)
def test_digests_fit_into_a_state_however_sizes_are_distributed(shares: list[float]) -> None:
    """As with a thousand partitions of about one size, each beside a small one of another table."""
    total, sizes = 5 << 40, []
    while (left := total - sum(sizes)) > 0 and len(sizes) < 100_000:
        size = int(shares[len(sizes) % len(shares)] * total / ITEMS)
        sizes.append(min(size, left))
    stored = {n: Stored(size, max(1, size >> 13)) for n, size in enumerate(sizes, 1 << 20)}
    edges = tuple((1 << 56) - number for number in range(2 * OBJECT_ITEMS, 0, -1))
    stored[(1 << 20) + len(sizes)] = Stored(1 << 40, 1, edges)
    assert size_of(plan_digests(stored)) < STATE_BYTES


def size_of(items: list[LoadItem]) -> int:
    """As the state machine gets them."""
    return len(json.dumps([item.short() for item in items]))


def test_small_databases_are_one_item() -> None:
    stored = {number: Stored(8192, 1) for number in range(1, 200)}
    (item,) = plan_digests(stored)
    assert (item.first, item.end, item.pages) == (1, 200, None)
    assert PIECE_BYTES > 200 * 8192


@given(count=st.integers(0, 100_000), most=st.integers(1, 2000))
def test_a_cut_covers_all_and_has_no_more_ranges_than_asked(count: int, most: int) -> None:
    ranges = cut(count, most)
    assert len(ranges) <= most
    assert [one for start, end in ranges for one in range(start, end)] == list(range(count))


def test_places_that_json_would_round_come_back() -> None:
    item = LoadItem(kind="digests", number=1, first=0, end=1, pages=((1 << 56) - 1, None))
    assert LoadItem.model_validate(json.loads(json.dumps(item.short()), parse_int=float)) == item
