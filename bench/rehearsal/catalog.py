"""A made-up database of any size, and what a backup of it records.  Pure, and always the same.

One table in 2,500 is a giant of 122 GB; one in 5,000 has 2 GB; all others have half a megabyte.  So 100,000
tables are 5 TB in 400,000 chunks.  A chunk's content is its number as one row, so that its id is a real one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from math import ceil

import zstandard

from coffre.backup.plan import WorkItem
from coffre.databases.postgresql.description import Description
from coffre.databases.postgresql.inventory import Found, Inventory
from coffre.vault.layout import Layout
from coffre.vault.manifest import Engine, Locale, Snapshot
from coffre.vault.parts import Chunk, Column, DatabaseRecord, End, Relation, Role
from coffre.vault.scan import ChunkSizes

DATABASE = "rehearsal"
GIANT, LARGE, SMALL = 122 * 10**9, 2 * 10**9, 500_000
EACH_GIANT, EACH_LARGE = 2500, 5000
COLUMNS = 8
PAGE_BYTES = 8192
ROW_BYTES = 100
STORED_PERCENT = 40


def tables(count: int) -> list[Found]:
    """The tables with their sizes."""
    return [_table(number) for number in range(count)]


def _table(number: int) -> Found:
    columns = tuple(Column(f"column_{number % 97}_{n}", "character varying(255)") for n in range(COLUMNS))
    relation = Relation(number, "table", f"schema_{number % 50}", f"table_{number:07}", "owner", columns)
    size = GIANT if number % EACH_GIANT == 0 else LARGE if number % EACH_LARGE == 1 else SMALL
    return Found(relation, size, size // PAGE_BYTES)


def description(count: int) -> Description:
    """What a backup says of the database beside its rows."""
    return Description(
        engine=Engine(
            name="postgresql",
            server_version="18.4",
            server_version_num=180_004,
            tools_version="pg_dump 18",
            system_identifier="1f",
            database=DATABASE,
            database_oid=5,
        ),
        snapshot=Snapshot(taken="2026-01-01T00:00:00.000000Z", lsn="0/1", transactions="1:1:"),
        locale=Locale(encoding="UTF8", provider="c", collate="C", ctype="C", locale=None),
        extensions=[],
        settings={"client_encoding": "UTF8"},
        objects={"table": count},
        needs=[],
        roles=[Role("owner", ("LOGIN",))],
        database=DatabaseRecord("owner", None, (), ()),
        described=[],
        large_objects=[],
        inventory=Inventory(tuple(tables(count)), (), (), 0),
    )


def content(number: int) -> bytes:
    """The rows of a chunk."""
    return b"%d\n" % number


def packed(number: int) -> bytes:
    """A chunk as it is stored."""
    return zstandard.compress(content(number))


def chunks(item: WorkItem, first: int) -> Iterator[Chunk]:
    """The chunks of an item; their numbers begin with ``first``."""
    count = ceil(item.size / ChunkSizes.for_relation(item.whole).target)
    size = item.size // count
    for number in range(first, first + count):
        identifier = hashlib.sha256(content(number)).hexdigest()
        digest = hashlib.sha256(packed(number)).hexdigest()
        key = Layout(DATABASE).chunk(identifier)
        yield Chunk(identifier, key, "zstd", size // ROW_BYTES, size, size * STORED_PERCENT // 100, digest)


def digest_of(identifier: str) -> int:
    """What a chunk adds to its relation's digest."""
    return int(identifier[:32], 16)


def end_of(relation: int, held: list[Chunk]) -> End:
    """The sums of a section."""
    digest = sum(digest_of(chunk.id) for chunk in held) % (1 << 128)
    rows, size = sum(chunk.rows for chunk in held), sum(chunk.bytes for chunk in held)
    return End(relation, rows, size, f"{digest:032x}")
