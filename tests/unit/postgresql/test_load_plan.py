"""Items of a load: every chunk once, tables whole where nothing forbids it, and workers that end together."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.load_plan import FROZEN_BYTES, ITEM_BYTES, LEAST_BYTES, load_items
from coffre.vault.contents import Section
from coffre.vault.parts import Chunk, End, Relation, decode_record

MIB = 1 << 20
CHUNK = 4 * MIB

tables = st.lists(st.lists(st.integers(1, CHUNK), max_size=60), max_size=12)


def section(number: int, chunks: list[int], **about: Any) -> Section:
    """A table with chunks of these sizes."""
    relation = Relation(number, **{"kind": "table", "schema": "s", "name": "t", "owner": "me"} | about)
    made = tuple(Chunk(f"{number}.{n}", "key", "zstd", 1, size, 1, "") for n, size in enumerate(chunks))
    return Section(relation, made, End(number, len(chunks), sum(chunks), "0"))


def planned(
    sections: list[Section], *, workers: int = 2, alone: bool = True, more: int = 0
) -> list[tuple[list[Chunk], bool]]:
    """The chunks of each item, and whether it is a whole table; ``more`` bytes of each are elsewhere."""
    sizes = {one.relation.id: one.end.bytes + more for one in sections}
    ordered = sorted(sections, key=lambda one: -one.end.bytes)
    found = []
    for item in load_items(ordered, sizes, workers=workers, alone=alone):
        chunks = [decode_record(line.encode()) for line in item["chunks"]]
        found.append(([one for one in chunks if isinstance(one, Chunk)], bool(item.get("whole"))))
    return found


@given(sizes=tables, workers=st.integers(1, 3), alone=st.booleans())
def test_every_chunk_is_in_one_item_in_its_order(sizes: list[list[int]], workers: int, alone: bool) -> None:
    items = planned([section(n, chunks) for n, chunks in enumerate(sizes)], workers=workers, alone=alone)
    found: dict[str, list[str]] = {}
    for chunks, whole in items:
        (number,) = {chunk.id.partition(".")[0] for chunk in chunks}
        found.setdefault(number, []).extend(chunk.id for chunk in chunks)
        if whole:
            assert alone
            assert [chunk.bytes for chunk in chunks] == sizes[int(number)]
            assert sum(chunk.bytes for chunk in chunks) >= FROZEN_BYTES
        else:
            assert sum(chunk.bytes for chunk in chunks[:-1]) < ITEM_BYTES
    assert found == {str(n): [f"{n}.{p}" for p in range(len(one))] for n, one in enumerate(sizes) if one}


@given(sizes=tables, workers=st.integers(2, 4))
def test_no_worker_waits_long_for_the_last_one(sizes: list[list[int]], workers: int) -> None:
    ends = [0] * workers
    for chunks, _ in planned([section(n, one) for n, one in enumerate(sizes)], workers=workers):
        ends[ends.index(min(ends))] += sum(chunk.bytes for chunk in chunks)
    share = sum(ends) / workers
    assert max(ends) <= share + max(LEAST_BYTES, share / 4) + CHUNK


def test_a_table_that_is_no_more_than_a_share_is_loaded_whole() -> None:
    sections = [section(1, [MIB] * 380), section(2, [MIB] * 300), section(3, [MIB] * 90)]
    items = [(len(chunks), whole) for chunks, whole in planned(sections)]
    assert items[:2] == [(380, True), (300, True)]
    assert not any(whole for _, whole in items[2:]), "it would be more than a share"
    assert sum(count for count, _ in items[2:]) == 90
    sections[0] = section(1, [MIB] * 400)
    assert planned(sections)[0][1] is False


def test_one_worker_loads_all_tables_whole() -> None:
    items = planned([section(1, [MIB] * 3), section(2, [MIB] * 2), section(3, [FROZEN_BYTES - 1])], workers=1)
    assert [whole for _, whole in items] == [True, True, False]


def test_what_may_hold_other_rows_is_never_loaded_whole() -> None:
    whole = [MIB] * 10
    root = {"kind": "leaf", "load": "root", "root_schema": "s", "root_name": "r"}
    for one in (section(1, whole, kind="extension_config"), section(1, whole, **root)):
        assert not any(is_whole for _, is_whole in planned([one], workers=1))
    assert not any(is_whole for _, is_whole in planned([section(1, whole)], workers=1, more=1)), "a piece"
    assert not any(is_whole for _, is_whole in planned([section(1, whole)], workers=1, alone=False))
