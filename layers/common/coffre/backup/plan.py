"""From an inventory to work items.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from coffre.databases.postgresql.statements import Pages
from coffre.vault.parts import Relation

if TYPE_CHECKING:
    from coffre.databases.postgresql.inventory import Found  # a worker plans nothing

SPLIT_BYTES = 1 << 30
"""A relation below this is read by one plain COPY: page ranges bypass the server's ring buffer and push the
application's pages out of its cache (``docs/decisions/0005-page-ranges.md``)."""

PIECE_BYTES = 1 << 29
ALIGN_PAGES = 1 << 14
"""Pieces have this many heap pages (128 MiB) times a power of two: a growing table keeps its edges."""


@dataclass(frozen=True)
class WorkItem:
    """One COPY: a relation, or some pages of it."""

    relation: Relation
    size: int
    pages: Pages | None = None


def plan(found: Sequence[Found]) -> list[WorkItem]:
    """The work items, the largest first, so that the workers end together."""
    items = [item for relation in found for item in _items(relation)]
    return sorted(items, key=lambda item: (-item.size, item.relation.id, item.relation.piece))


def _items(found: Found) -> list[WorkItem]:
    pieces = min(found.size // PIECE_BYTES, found.pages // ALIGN_PAGES)
    if found.size <= SPLIT_BYTES or pieces < 2 or found.relation.kind == "extension_config":
        return [WorkItem(found.relation, found.size)]
    step = ALIGN_PAGES
    while step * pieces < found.pages:
        step *= 2
    starts = list(range(0, found.pages, step))
    return [
        WorkItem(
            replace(found.relation, piece=number, pieces=len(starts)),
            found.size // len(starts),
            (start, start + step if number < len(starts) - 1 else None),
        )
        for number, start in enumerate(starts)
    ]
