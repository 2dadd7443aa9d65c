"""Batches read everything once, and what a plan promises follows from sizes, rates and prices."""

from __future__ import annotations

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.backup.estimate import UNMEASURED, choose, forecast, measure
from coffre.backup.plan import (
    BATCH_RELATIONS,
    BATCHES,
    PIECE_BYTES,
    SHARED_FROM,
    SHARED_LEAST,
    SHARED_MOST,
    SMALL_BYTES,
    Batch,
    WorkItem,
    plan,
    plan_batches,
    together,
)
from coffre.catalogue.entries import Rate
from coffre.choice import MARGIN
from coffre.databases.postgresql.inventory import Found
from coffre.prices import load_prices
from coffre.vault.parts import Relation
from coffre.vault.scan import ChunkSizes

GIB = 1 << 30
sizes = st.lists(st.integers(0, 1 << 36), max_size=60)


def found(sizes: list[int]) -> list[Found]:
    """Tables of these sizes."""
    return [
        Found(Relation(number, "table", "public", f"t{number}", "me"), size, size >> 13)
        for number, size in enumerate(sizes)
    ]


@given(sizes=sizes)
@settings(max_examples=60)
def test_batches_hold_each_item_of_the_plan_once_the_largest_first(sizes: list[int]) -> None:
    batches = plan_batches(found(sizes))
    piece = max(PIECE_BYTES, sum(sizes) // BATCHES)
    packed = [item for batch in batches for item in batch.items]
    assert sorted(map(repr, packed)) == sorted(map(repr, plan(found(sizes), piece)))
    assert [batch.size for batch in batches] == sorted((batch.size for batch in batches), reverse=True)
    assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))


def test_small_tables_share_batches_and_large_ones_are_cut() -> None:
    batches = plan_batches(found([SMALL_BYTES + 1] * 1200 + [10 * GIB]))
    assert [len(batch.items) for batch in batches if len(batch.items) > 1] == [BATCH_RELATIONS, 500, 200]
    assert len([batch for batch in batches if batch.items[0].pages is not None]) == 20


small = st.integers(0, SMALL_BYTES)


def named(names: set[str]) -> list[WorkItem]:
    """The plan for small tables of these names."""
    tables = [Relation(number, "table", "public", name, "me") for number, name in enumerate(names)]
    return plan([Found(table, 8192, 1) for table in tables])


def groups(items: list[WorkItem]) -> set[frozenset[str]]:
    """The names of the tables that share a chunk."""
    return {frozenset(item.relation.name for item in group) for group in together(items)}


def test_few_small_tables_have_a_chunk_each() -> None:
    assert {item.shared for item in plan(found([8192] * (SHARED_FROM - 1) + [GIB] * 100))} == {0}
    assert 0 not in {item.shared for item in plan(found([8192] * SHARED_FROM))}


@given(sizes=st.lists(small, min_size=SHARED_FROM, max_size=1500), others=sizes)
@settings(max_examples=30)
def test_many_small_tables_share_chunks_and_each_group_is_one_batchs(
    sizes: list[int], others: list[int]
) -> None:
    others = [SMALL_BYTES + 1 + size for size in others]
    items = plan(found(sizes + others))
    shared = [group for group in together(items) if group[0].shared]
    assert sum(map(len, shared)) == len(sizes)
    assert len({group[0].shared for group in shared}) == len(shared) <= -(-len(sizes) // SHARED_LEAST)
    assert max(map(len, shared)) <= SHARED_MOST
    held = [{item.shared for item in batch.items} - {0} for batch in plan_batches(found(sizes + others))]
    assert sum(map(len, held)) == len(shared), "no group is in two batches"
    assert all(len(batch.items) <= BATCH_RELATIONS for batch in plan_batches(found(sizes)))


@given(new=st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=30))
def test_a_new_table_leaves_nearly_all_groups_as_they_are(new: str) -> None:
    """It changes its own, and those after it up to the next table that is always the last of one."""
    names = {f"table_{number}" for number in range(3000)}
    before, after = groups(named(names)), groups(named(names | {new}))
    assert len(before) > 60
    assert len(before - after) <= 6


@given(st.integers(1, 1 << 36))
def test_two_workers_that_share_a_table_end_together(beyond: int) -> None:
    size = GIB + beyond
    items = plan(found([size]))
    shares = [sum(item.size for item in items[worker::2]) for worker in (0, 1)]
    assert max(shares) - min(shares) <= size / 8


def test_chunks_are_as_large_as_the_whole_table_is_large_however_it_is_cut() -> None:
    """Else the size of a piece, which depends on the whole database's, would give old rows new chunks."""
    (large,) = found([100 * GIB])
    for piece in (PIECE_BYTES, 4 * GIB):
        items = plan([large], piece)
        assert len(items) > 20
        targets = {ChunkSizes.for_relation(item.whole).target for item in items}
        assert targets == {ChunkSizes.for_relation(large.size).target}


def test_however_large_the_database_its_manifest_can_name_all_parts() -> None:
    """A part takes about 400 bytes of a manifest, which has less than 1 MiB."""
    batches = plan_batches(found([64 * GIB] * 80 + [1 << 20] * 100_000))
    assert len(batches) * 400 < 1 << 20


def test_what_fits_one_function_with_a_margin_runs_there() -> None:
    rate = Rate("shop", 100_000_000, 400, "2026-11-20")
    assert choose(10 * GIB, rate, 870).where == "function"
    large = choose(100 * GIB, rate, 870)
    assert large.where == "machine"
    assert f"{MARGIN:.0%} of the 870 s" in large.reason
    assert "measured" in large.reason
    assert "assumed" in choose(GIB, UNMEASURED, 870).reason


def test_twice_the_rows_take_twice_the_workers_time_and_the_dollars_follow() -> None:
    def expected(tables: int, workers: int) -> tuple[float, float]:
        made = forecast(
            "machine",
            plan_batches(found([GIB] * tables)),
            UNMEASURED,
            workers=workers,
            prices=load_prices(),
        )
        return made.seconds - 60, sum(made.dollars.values())

    assert expected(200, 4)[0] == 2 * expected(100, 4)[0] == 2 * 2 * expected(100, 8)[0]
    assert expected(200, 8)[1] > 1.9 * expected(100, 8)[1]


def test_an_empty_database_takes_time_and_dollars_too() -> None:
    nothing: list[Batch] = plan_batches([])
    made = forecast("function", nothing, UNMEASURED, workers=2, prices=load_prices())
    assert made.seconds > 0
    assert made.requests["s3 put"] > 0


def test_prices_say_where_they_come_from_and_as_of_when() -> None:
    prices = load_prices()
    assert date.fromisoformat(prices.as_of) > date(2024, 11, 1)
    assert "aws.amazon.com" in prices.source
    assert all(value > 0 for value in prices.model_dump().values() if isinstance(value, float))


def test_a_backup_that_was_too_short_measures_nothing() -> None:
    assert measure("shop", size=1000, stored=400, worker_seconds=0.5, measured="now") is None
    assert measure("shop", size=0, stored=0, worker_seconds=9, measured="now") is None
    assert measure("shop", size=10_000, stored=4_000, worker_seconds=10, measured="now") == Rate(
        "shop", 1000, 400, "now"
    )
