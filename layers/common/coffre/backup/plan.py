"""From an inventory to work items, and from work items to batches.  Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from coffre.databases.postgresql.statements import Pages, ranges_from
from coffre.vault.parts import Relation

if TYPE_CHECKING:
    from coffre.databases.postgresql.inventory import Found  # a worker plans nothing

PIECE_BYTES = 1 << 29
"""A relation of two pieces or less is read by one plain COPY: page ranges bypass the server's ring buffer and
push the application's pages out of its cache (``docs/decisions/0005-page-ranges.md``)."""

PAGE_BYTES = 1 << 13
ASIDE = 8
"""Where the heap is less than an eighth of a relation, its values lie in TOAST, and every COPY fetches them
through the cache.  So it is split from a quarter of a piece on, and between any two pages: the heap of a
terabyte may be 32 MiB."""

LEAST_PIECES = 32
"""Of a relation that is split, even if they are smaller then: two workers that share a table of 1.2 GiB shall
end together."""

ALIGN_PAGES = 1 << 12
"""Pieces have this many heap pages (32 MiB) times a power of two: a growing table keeps its edges."""

BATCHES = 1200
"""So many batches, or up to twice as many, however large the database: each starts a function, and writes a
part, of which a manifest can name some 2,900 (`coffre.backup.joining`)."""

BATCH_RELATIONS = 500
"""Relations in a batch at most: each costs a round trip, however small it is."""

SMALL_BYTES = 1 << 16
SHARED_FROM = 200
"""Where so many relations are no larger than this, they share chunks: a request for each would cost more than
their rows.  Where there are fewer, a change of one shall not store its neighbours again."""

SHARED_LEAST, SHARED_USUAL, SHARED_MOST = 8, 32, 64
"""How many relations share a chunk.  As with rows, some of them, by their names, are the last of one: a new
table moves the boundaries around it and no others."""


@dataclass(frozen=True)
class WorkItem:
    """One COPY: a relation, or some pages of it.

    ``heap`` is how many pages the whole relation had when it was last counted.  Items that have a number in
    ``shared`` have their rows in one chunk: they follow each other, and one worker reads them.
    """

    relation: Relation
    size: int
    pages: Pages | None = None
    heap: int = 0
    shared: int = 0

    @property
    def whole(self) -> int:
        """Bytes on the source's disk of the whole relation, about; its chunks are as large as it is large."""
        return self.size * self.relation.pieces


@dataclass(frozen=True)
class Batch:
    """What one worker does in one go: one large item, or many small ones."""

    number: int
    items: tuple[WorkItem, ...]

    @property
    def size(self) -> int:
        """Bytes on the source's disk."""
        return sum(item.size for item in self.items)


def plan(found: Sequence[Found], piece_bytes: int = PIECE_BYTES) -> list[WorkItem]:
    """The work items, the largest first, so that the workers end together; then what shares chunks."""
    items = [item for relation in found for item in _items(relation, piece_bytes)]
    small = [item for item in items if item.size <= SMALL_BYTES]
    if len(small) < SHARED_FROM:
        return sorted(items, key=_largest_first)
    large = (item for item in items if item.size > SMALL_BYTES)
    return [*sorted(large, key=_largest_first), *_sharing(small)]


def together(items: Iterable[WorkItem]) -> Iterator[tuple[WorkItem, ...]]:
    """The items as they are handed out: those that share a chunk together, the others one by one."""
    for shared, group in groupby(items, key=lambda item: item.shared):
        if shared:
            yield tuple(group)
        else:
            yield from ((item,) for item in group)


def plan_batches(found: Sequence[Found]) -> list[Batch]:
    """The same as batches for workers that start one by one: small relations are packed together."""
    piece_bytes = max(PIECE_BYTES, sum(relation.size for relation in found) // BATCHES)
    packs = _pack(plan(found, piece_bytes), piece_bytes // 2)
    largest_first = sorted(packs, key=lambda items: -sum(item.size for item in items))
    return [Batch(number, tuple(items)) for number, items in enumerate(largest_first, 1)]


def _pack(items: Iterable[WorkItem], enough: int) -> list[list[WorkItem]]:
    """Fill each pack until it has ``enough`` bytes."""
    packs: list[list[WorkItem]] = []
    size = enough
    for group in together(items):
        if size >= enough or len(packs[-1]) + len(group) > BATCH_RELATIONS:
            packs.append([])
            size = 0
        packs[-1] += group
        size += sum(item.size for item in group)
    return packs


def _largest_first(item: WorkItem) -> tuple[int, int, int]:
    return -item.size, item.relation.id, item.relation.piece


def _sharing(small: Iterable[WorkItem]) -> Iterator[WorkItem]:
    """Small items in the order of their names, with the numbers of the chunks that they share."""
    number, count = 1, 0
    for item in sorted(small, key=lambda item: (item.relation.schema, item.relation.name)):
        yield replace(item, shared=number)
        count += 1
        if count == SHARED_MOST or (count >= SHARED_LEAST and _is_last(item.relation)):
            number, count = number + 1, 0


def _is_last(relation: Relation) -> bool:
    return zlib.crc32(relation.label.encode("utf-8", "surrogateescape")) % SHARED_USUAL == 0


def _items(found: Found, piece_bytes: int) -> list[WorkItem]:
    if found.edges:
        return _cut(found, [0, *found.edges])
    is_aside = found.pages * PAGE_BYTES * ASIDE < found.size
    step, least = (1, piece_bytes // 4) if is_aside else (ALIGN_PAGES, 2 * piece_bytes)
    is_short = found.size <= least or found.pages < 2 * step
    if is_short or found.relation.kind == "extension_config":
        return [WorkItem(found.relation, found.size, heap=found.pages)]
    while step * max(found.size // piece_bytes, LEAST_PIECES) < found.pages:
        step *= 2
    return _cut(found, list(range(0, found.pages, step)))


def _cut(found: Found, starts: Sequence[int]) -> list[WorkItem]:
    """A relation as pieces that begin at these pages."""
    return [
        WorkItem(
            replace(found.relation, piece=number, pieces=len(starts)),
            found.size // len(starts),
            pages,
            found.pages,
        )
        for number, pages in enumerate(ranges_from(starts))
    ]
