"""Sections lie in scratch space, and come in the order in which they are to be loaded."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.vault.contents import Section, largest_first, read_sections
from coffre.vault.parts import Chunk, Column, End, Relation, decode_record, encode_record


def section(number: int, size: int, chunks: int) -> Section:
    """A table of this size."""
    relation = Relation(number, "table", "public", f"t{number}", "me", (Column("id", "integer"),))
    ids = [f"{number:032x}{n:032x}" for n in range(chunks)]
    held = tuple(Chunk(one, f"shop/chunks/{one[:2]}/{one}", "zstd", 1, 1, 1, one) for one in ids)
    return Section(relation, held, End(number, chunks, size, "0"))


def spool(path: Path, sections: list[Section]) -> Path:
    """The sections as `read_contents` writes them."""
    with path.open("wb") as out:
        for one in sections:
            for record in (one.relation, *one.chunks, one.end):
                out.write(encode_record(record))
    return path


@given(sizes=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=20))
def test_sections_come_largest_first_each_once_and_whole(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("spool") / "sections"
    sections = [section(number, size, chunks) for number, (size, chunks) in enumerate(sizes)]
    spool(path, sections)
    assert list(read_sections(path)) == sections
    assert list(largest_first(path)) == sorted(sections, key=lambda one: -one.end.bytes)


def test_putting_sections_in_order_holds_one_of_them(tmp_path: Path) -> None:
    path = spool(tmp_path / "sections", [section(number, number, 200) for number in range(100)])
    tracemalloc.start()
    try:
        assert sum(len(one.chunks) for one in largest_first(path)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000, "all of them take ten times as much"
    finally:
        tracemalloc.stop()


def test_tables_share_the_columns_that_they_have_in_common() -> None:
    lines = [encode_record(section(number, 0, 0).relation) for number in range(2)]
    one, other = (decode_record(line) for line in lines)
    assert isinstance(one, Relation)
    assert isinstance(other, Relation)
    assert one.columns[0] is other.columns[0]
