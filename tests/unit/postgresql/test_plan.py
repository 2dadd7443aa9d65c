"""A plan reads every page of every relation once."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.backup.plan import ALIGN_PAGES, ASIDE, PAGE_BYTES, PIECE_BYTES, WorkItem, plan
from coffre.backup.slices import slices
from coffre.databases.postgresql.inventory import Found
from coffre.databases.postgresql.large_objects import LEAST_STEP, MOST_STEP, STEPS, usual_step
from coffre.vault.parts import Relation, RelationKind

GIB = 1 << 30
kinds: st.SearchStrategy[RelationKind] = st.sampled_from(["table", "leaf", "extension_config"])
shapes = st.lists(st.tuples(kinds, st.integers(0, 1 << 42), st.integers(0, 1 << 29)), max_size=5)


def found(number: int, kind: RelationKind, size: int, pages: int) -> Found:
    return Found(Relation(number, kind, "public", f"t{number}", "me"), size, pages)


def items_of(relation: Found) -> list[WorkItem]:
    return sorted(plan([relation]), key=lambda item: item.relation.piece)


@given(shapes=shapes)
@settings(max_examples=50)
def test_every_relation_is_read_once_and_whole(shapes: list[tuple[RelationKind, int, int]]) -> None:
    relations = [found(number, *shape) for number, shape in enumerate(shapes)]
    items = plan(relations)
    assert {item.relation.id for item in items} == set(range(len(shapes)))
    assert [item.size for item in items] == sorted((item.size for item in items), reverse=True)
    for relation in relations:
        own = [item for item in items if item.relation.id == relation.relation.id]
        own.sort(key=lambda item: item.relation.piece)
        assert [item.relation.piece for item in own] == list(range(len(own)))
        assert {item.relation.pieces for item in own} == {len(own)}
        if len(own) == 1:
            assert own[0].pages is None
            continue
        ranges = [item.pages for item in own if item.pages is not None]
        assert len(ranges) == len(own)
        assert ranges[0][0] == 0
        assert ranges[-1][1] is None  # the table may have grown since its size was estimated
        assert all(one[1] == two[0] for one, two in pairwise(ranges))
        step = ranges[1][0]
        assert step & (step - 1) == 0
        if relation.pages * PAGE_BYTES * ASIDE >= relation.size:
            assert all(start % ALIGN_PAGES == 0 for start, _ in ranges)
        assert [start for start, _ in ranges] == list(range(0, len(ranges) * step, step))


def test_a_relation_that_one_worker_can_finish_is_read_by_a_plain_copy() -> None:
    assert [item.pages for item in items_of(found(1, "table", 2 * PIECE_BYTES, 1 << 17))] == [None]


def test_a_table_of_large_values_is_split_though_its_heap_is_small() -> None:
    items = items_of(found(1, "table", PIECE_BYTES, 50))
    assert [item.pages for item in items[:2]] == [(0, 2), (2, 4)]
    assert len(items) == 25
    assert len(items_of(found(1, "table", 2000 * PIECE_BYTES, 1 << 12))) == 1024


def test_a_heap_is_not_cut_below_32_mib() -> None:
    starts = [item.pages[0] for item in items_of(found(1, "table", 2 * GIB, 2 * GIB >> 13)) if item.pages]
    assert all(start % ALIGN_PAGES == 0 for start in starts)
    assert len(starts) == 32


def test_of_a_small_table_of_large_values_there_is_one_copy() -> None:
    assert len(items_of(found(1, "table", PIECE_BYTES // 4, 50))) == 1


def test_a_large_relation_is_read_in_pieces_of_about_the_same_size() -> None:
    items = items_of(found(1, "table", 64 * GIB, 64 * GIB >> 13))
    assert len(items) == 64 * GIB // PIECE_BYTES
    assert {item.size for item in items} == {PIECE_BYTES}


def test_extension_configuration_is_never_split_because_its_condition_selects_rows() -> None:
    assert len(items_of(found(1, "extension_config", 100 * GIB, 1 << 24))) == 1


def test_a_large_value_in_a_short_table_does_not_split_it() -> None:
    assert len(items_of(found(1, "table", 100 * GIB, 1))) == 1


def test_a_growing_table_keeps_its_edges() -> None:
    def edges(pages: int) -> set[int]:
        return {item.pages[0] for item in items_of(found(1, "table", pages << 13, pages)) if item.pages}

    for pages in (2 * GIB >> 13, 8 * GIB >> 13, 700_000, 1_000_001):
        for growth in (1, 1_000, 50_000):
            before = edges(pages)
            after = {edge for edge in edges(pages + growth) if edge <= max(before)}
            assert before <= after or after <= before


@given(size=st.integers(0, 1 << 45), places=st.sets(st.integers(1, 1 << 56), max_size=40))
def test_large_objects_are_read_once_between_their_edges(size: int, places: set[int]) -> None:
    edges = tuple(sorted(places))
    relation = Relation(1, "large_objects", "pg_catalog", "pg_largeobject", "")
    items = items_of(Found(relation, size, 0, edges))
    assert [item.relation.piece for item in items] == list(range(len(edges) + 1))
    if not edges:
        assert [item.pages for item in items] == [None]
        return
    ranges = [item.pages for item in items if item.pages is not None]
    assert [first for first, _ in ranges] == [0, *edges]
    assert [after for _, after in ranges] == [*edges, None]
    assert all(slices(item, 1) == [item.pages] for item in items), "a worker reads one in one go"


@given(size=st.integers(0, 1 << 45), growth=st.integers(0, 1 << 40))
def test_edges_of_large_objects_stay_where_objects_are_added(size: int, growth: int) -> None:
    before, after = usual_step(size), usual_step(size + growth)
    assert LEAST_STEP <= before <= after <= MOST_STEP
    assert after % before == 0
    assert before == MOST_STEP or before * STEPS >= size
