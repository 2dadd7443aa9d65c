"""What the workers of a restore in one function load, item by item, so that they end together.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from coffre.vault.contents import Section
from coffre.vault.parts import Chunk, Relation, encode_record
from coffre.workers import Message

ITEM_BYTES = 64 << 20
"""Plain bytes of one COPY of a table that workers share: enough that it isn't cut into slivers.  A restore by
many functions notes its runs by their numbers, so one that goes on must cut as it did before."""

LEAST_BYTES = 8 << 20
"""The same near the end, where the workers wait for the last one."""

FROZEN_BYTES = 1 << 20
"""Freezing the rows of a table with less isn't worth its truncation."""


def load_items(
    sections: Iterable[Section], sizes: Mapping[int, int], *, workers: int, alone: bool
) -> Iterator[Message]:
    """Items for `coffre.databases.postgresql.load.LoadTask`: all rows of a table, or a run of its chunks.

    Parameters
    ----------
    sections:
        The largest first.
    sizes:
        Bytes of COPY text of each relation, by its id.
    alone:
        Whether nobody else uses the tables.  One that is no more than a worker's share then goes to one
        worker, which may lock it and freeze its rows: its item says ``whole``.
    """
    left = sum(sizes.values())
    share, loads = left / workers, [0.0] * workers
    for section in sections:
        relation, size = section.relation, section.end.bytes
        least = min(range(workers), key=loads.__getitem__)
        if alone and _is_whole(section, sizes) and loads[least] + size <= share:
            loads[least] += size
            left -= size
            yield {**_item(relation, section.chunks), "whole": True}
            continue
        loads = [load + size / workers for load in loads]
        for run in _runs(section.chunks, left, workers):
            left -= sum(chunk.bytes for chunk in run)
            yield _item(relation, run)


def _is_whole(section: Section, sizes: Mapping[int, int]) -> bool:
    """Whether the section is a table with all its rows, and theirs are the only ones that it will have."""
    relation, size = section.relation, section.end.bytes
    plain = relation.kind in ("table", "leaf") and relation.load == "self"
    return plain and size >= FROZEN_BYTES and size == sizes[relation.id]


def _runs(chunks: Sequence[Chunk], left: int, workers: int) -> Iterator[list[Chunk]]:
    """Consecutive chunks, fewer and fewer as less is left to load of all tables."""
    run: list[Chunk] = []
    size = 0
    for chunk in chunks:
        run.append(chunk)
        size += chunk.bytes
        if size >= min(ITEM_BYTES, max(LEAST_BYTES, left // (4 * workers))):
            yield run
            left -= size
            run, size = [], 0
    if run:
        yield run


def _item(relation: Relation, run: Iterable[Chunk]) -> Message:
    return {
        "relation": encode_record(relation).decode(),
        "chunks": [encode_record(chunk).decode() for chunk in run],
    }
