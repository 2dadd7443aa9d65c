"""Rows that a restore loads: frozen where nobody else is, never at the cost of rows that were there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.load import WHOLE_BYTES, LoadTask
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import ObjectCorruptError
from coffre.vault.parts import Chunk, Column, Relation, encode_record
from tests.fakes.store import MemoryStore
from tests.support.postgres import create, customer_server, sql

ROWS = 5000
FROZEN = """
SELECT relallvisible = (SELECT count(DISTINCT (ctid::text::point)[0]) FROM t) AND relallvisible > 1
FROM pg_class WHERE oid = 't'::regclass"""
"""Whether all pages with rows are known to be visible to everybody: without vacuum, only frozen rows are."""


@pytest.fixture(scope="module", params=[14, 18])
def server(
    request: pytest.FixtureRequest, postgres_root: Path, scratch_root: Path
) -> Iterator[EphemeralServer]:
    """The oldest server and the newest one."""
    with customer_server(postgres_root, request.param, scratch_root, {"autovacuum": "off"}) as made:
        yield made


@pytest.fixture
def where(server: EphemeralServer, request: pytest.FixtureRequest) -> Target:
    """A database of the test's own with a table."""
    return create(server, request.node.name[:60], "CREATE TABLE t (i int CHECK (i >= 0), s text)")


def stored(store: MemoryStore, text: bytes) -> Chunk:
    """A chunk in the store."""
    body, name = zstandard.ZstdCompressor().compress(text), hashlib.sha256(text).hexdigest()
    store.put(name, body)
    digest = hashlib.sha256(body).hexdigest()
    return Chunk(name, name, "zstd", text.count(b"\n"), len(text), len(body), digest)


def rows(first: int, count: int) -> bytes:
    """COPY text."""
    return b"".join(b"%d\t%s\n" % (n, b"x" * 100) for n in range(first, first + count))


def load(where: Target, *texts: bytes, whole: bool = True, damaged: bool = False) -> dict[str, Any]:
    """Load a table's rows as a worker does; the last chunk may be ``damaged``."""
    store = MemoryStore()
    relation = Relation(1, "table", "public", "t", "me", (Column("i", "integer"), Column("s", "text")))
    chunks = [stored(store, text) for text in texts]
    if damaged:
        store.tamper(chunks[-1].key, lambda body: body[:-9] + bytes(9))
    lines = [encode_record(chunk).decode() for chunk in chunks]
    item = {"relation": encode_record(relation).decode(), "chunks": lines, "whole": whole}
    setup = {"target": asdict(where), "seconds": 60, "as_owner": False, "encoding": "UTF8"}
    task = LoadTask(setup, store)
    try:
        return task.run(item)
    finally:
        task.finish()


def counted(where: Target) -> int:
    return int(sql(where, "SELECT count(*) FROM t")[0][0])


def frozen(where: Target) -> bool:
    return bool(sql(where, "ANALYZE t", FROZEN)[0][0])


def test_a_whole_table_is_loaded_frozen_and_a_run_of_its_chunks_is_not(where: Target) -> None:
    load(where, rows(0, ROWS), whole=False)
    assert not frozen(where)
    sql(where, "TRUNCATE t")
    assert load(where, rows(0, ROWS), rows(ROWS, ROWS))["rows"] == 2 * ROWS
    assert frozen(where)
    assert counted(where) == 2 * ROWS


def test_rows_that_were_there_stay(where: Target) -> None:
    sql(where, "INSERT INTO t VALUES (7, 'somebody else''s')")
    assert load(where, rows(0, ROWS))["rows"] == ROWS
    assert sql(where, "SELECT count(*) FROM t WHERE s LIKE 'somebody%'") == [[1]]
    assert counted(where) == ROWS + 1
    assert not frozen(where)


def test_children_keep_their_rows_when_their_parent_is_loaded(where: Target) -> None:
    sql(where, "CREATE TABLE child () INHERITS (t)", "INSERT INTO child VALUES (1, 'a child''s')")
    load(where, rows(0, ROWS))
    assert frozen(where)
    assert sql(where, "SELECT count(*) FROM child") == [[1]]
    assert counted(where) == ROWS + 1


def test_who_reads_meanwhile_is_not_waited_for(where: Target) -> None:
    with open_session(where, seconds=60) as reader:
        reader.run("BEGIN")
        reader.run("SELECT FROM public.t")
        assert load(where, rows(0, ROWS))["rows"] == ROWS
    assert counted(where) == ROWS
    assert not frozen(where)


def test_a_role_that_may_not_truncate_loads_all_the_same(where: Target) -> None:
    sql(where, "CREATE ROLE writer LOGIN", "GRANT SELECT, INSERT ON t TO writer")
    assert load(replace(where, user="writer"), rows(0, ROWS))["rows"] == ROWS
    assert counted(where) == ROWS
    assert not frozen(where)


def test_what_the_server_refuses_leaves_nothing_and_loads_once_when_it_may(where: Target) -> None:
    bad = rows(0, ROWS) + b"-1\tnot allowed\n"
    assert load(where, bad)["refused"]["code"] == "query-failed"
    assert counted(where) == 0
    sql(where, "ALTER TABLE t DROP CONSTRAINT t_i_check")
    assert load(where, bad)["rows"] == ROWS + 1
    assert counted(where) == ROWS + 1
    assert frozen(where)


@pytest.mark.parametrize("size", [ROWS, WHOLE_BYTES // 100])
def test_a_wrong_chunk_leaves_nothing(where: Target, size: int) -> None:
    with pytest.raises(ObjectCorruptError):
        load(where, rows(0, ROWS), rows(ROWS, size), damaged=True)
    assert counted(where) == 0
