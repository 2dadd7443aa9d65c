"""From a backup's parts to items that workers do one by one: rows to load, relations to compare.  Pure.

Whoever reads the same backup finds the same runs under the same numbers, so that an item needs no more than a
part and two numbers, and nobody has to write a plan down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from coffre.databases.postgresql.load_plan import ITEM_BYTES
from coffre.databases.postgresql.statements import Pages, ranges_from
from coffre.events.restore_machine import LoadItem
from coffre.vault.parts import Chunk, End, Record, Relation

PIECE_BYTES = 1 << 29
"""What an item holds at least, where there is as much: minutes of a worker's time."""

ITEMS = 1000
"""Into so many items at most a database of any size is divided."""

ROW_ITEMS = 3000
"""Items of rows at most: what a state machine hands on has 256 KB.  Each part is one at least, and a manifest
names up to 2,900 (`coffre.backup.joining`)."""

ITEM_RELATIONS = 500
"""Relations that are compared in one item at most: each costs a round trip, however small it is."""

PAGE_BYTES = 8192


@dataclass(frozen=True)
class Run:
    """Consecutive chunks of one relation, which are loaded by one COPY in one transaction.

    ``number`` counts the runs of a part from 0.
    """

    number: int
    relation: Relation
    chunks: tuple[Chunk, ...]

    @property
    def bytes(self) -> int:
        """Of COPY text."""
        return sum(chunk.bytes for chunk in self.chunks)


@dataclass(frozen=True)
class Stored:
    """A relation as it lies in the restored database: bytes with all that belongs to it, and pages.

    ``edges`` are where large objects may be divided, which have no pages.
    """

    bytes: int
    pages: int
    edges: tuple[int, ...] = ()


def runs(records: Iterable[Record], run_bytes: int = ITEM_BYTES) -> Iterator[Run]:
    """The runs of a part, as its records come."""
    relation: Relation | None = None
    chunks: list[Chunk] = []
    number = size = 0
    for record in records:
        if isinstance(record, Relation):
            relation = record
        elif isinstance(record, Chunk):
            chunks.append(record)
            size += record.bytes
        ends = isinstance(record, End) or size >= run_bytes
        if ends and chunks and relation is not None:
            yield Run(number, relation, tuple(chunks))
            number, size, chunks = number + 1, 0, []


def plan_rows(parts: Sequence[Iterable[int]], total: int) -> list[LoadItem]:
    """The rows of all parts as items, the largest first, so that workers end together.

    Parameters
    ----------
    parts:
        Bytes of each run of each part, in their order and the manifest's.
    total:
        Bytes of COPY text of all of them.
    """
    enough = max(PIECE_BYTES, total // max(1, min(ITEMS, ROW_ITEMS - len(parts))))
    found: list[tuple[int, int, int, int]] = []  # bytes, part, first run, the one after the last
    for part, part_runs in enumerate(parts):
        first = end = size = 0
        for run, run_bytes in enumerate(part_runs):
            size, end = size + run_bytes, run + 1
            if size >= enough:
                found.append((size, part, first, end))
                first, size = end, 0
        if end > first:
            found.append((size, part, first, end))
    found.sort(key=lambda item: (-item[0], *item[1:]))
    return [
        LoadItem(kind="rows", number=number, part=part, first=first, end=end)
        for number, (_, part, first, end) in enumerate(found, 1)
    ]


def plan_digests(stored: Mapping[int, Stored]) -> list[LoadItem]:
    """What is compared, as items, the largest first: pages of a large relation, or several small ones.

    Parameters
    ----------
    stored:
        The relations by the number under which they are compared, in ascending order.
    """
    enough = max(PIECE_BYTES, sum(one.bytes for one in stored.values()) // ITEMS)
    found: list[tuple[int, int, int, Pages | None]] = []  # bytes, first, the one after the last, pages
    first = size = count = 0
    before: int | None = None
    for number, one in stored.items():
        ranges = page_ranges(one, enough)
        if count and (len(ranges) > 1 or size >= enough or count == ITEM_RELATIONS or number - 1 != before):
            found.append((size, first, (before or 0) + 1, None))
            count = size = 0
        before = number
        if len(ranges) > 1:
            share = one.bytes // len(ranges)
            found += [(share, number, number + 1, pages) for pages in ranges]
            continue
        first = first if count else number
        size, count = size + one.bytes, count + 1
    if count:
        found.append((size, first, (before or 0) + 1, None))
    found.sort(key=lambda item: (-item[0], item[1], item[3] or (0, None)))
    return [
        LoadItem(kind="digests", number=number, first=first, end=end, pages=pages)
        for number, (_, first, end, pages) in enumerate(found, 1)
    ]


def page_ranges(stored: Stored, enough: int) -> Sequence[Pages]:
    """Ranges of pages with at least ``enough`` bytes each, the last one with an open end."""
    if stored.edges:
        return ranges_from([0, *stored.edges])
    pieces = min(stored.bytes // enough, stored.pages)
    if pieces < 2:
        return [(0, None)]
    step = -(-stored.pages // pieces)
    return ranges_from(range(0, stored.pages, step))


def cut(count: int, most: int = ITEMS) -> list[tuple[int, int]]:
    """``count`` things as at most ``most`` ranges of equal length, or one shorter."""
    step = max(1, -(-count // most))
    return [(start, min(count, start + step)) for start in range(0, count, step)]
