"""Many small tables: a few objects hold their rows, and each table comes back, and changes, by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from coffre.backup.plan import SHARED_FROM, SHARED_LEAST, SHARED_MOST
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import FormatUnsupportedError
from coffre.vault import manifest as manifests
from coffre.vault.parts import Chunk, Relation
from coffre.vault.reader import read_part
from tests.fakes.kms import KEY
from tests.fakes.store import START
from tests.support.postgres import create, dumped, sql, target
from tests.support.vault import ServedStore, Verbs

TABLES = SHARED_FROM + 40
MANY = f"""
DO $$ BEGIN FOR i IN 1 .. {TABLES} LOOP
    EXECUTE format('CREATE TABLE t_%s (id integer PRIMARY KEY, words text,'
                   ' twice integer GENERATED ALWAYS AS (id * 2) STORED)', i);
    EXECUTE format('INSERT INTO t_%s (id, words) SELECT n, %L || n FROM generate_series(1, %s) AS n',
                   i, E'a\\tb\\nc\\\\', i % 5);
END LOOP; END $$
"""
LONG = "CREATE TABLE looks_small AS SELECT repeat('long ', 200000) AS words"


@pytest.fixture
def many(server18: EphemeralServer, request: pytest.FixtureRequest) -> Target:
    """A database of a test's own."""
    return create(server18, request.node.name, MANY, LONG)


@pytest.fixture
def verbs(postgres_root: Path, scratch_root: Path) -> Iterator[Verbs]:
    with ServedStore() as store:
        yield Verbs(store, postgres_root, scratch_root)


def chunks(verbs: Verbs) -> dict[str, list[Chunk]]:
    """The newest backup's records of chunks, by the names of their tables."""
    found: dict[str, list[Chunk]] = defaultdict(list)
    name = ""
    for part in verbs.manifest().parts:
        for record in read_part(verbs.store, part):
            if isinstance(record, Relation):
                name = record.name
            elif isinstance(record, Chunk):
                found[name].append(record)
    return found


def test_a_few_objects_hold_all_small_tables_and_all_come_back(
    verbs: Verbs, many: Target, server18: EphemeralServer, postgres_root: Path
) -> None:
    verbs.backup(many)
    manifest, found = verbs.manifest(), chunks(verbs)
    with_rows = sum(number % 5 > 0 for number in range(1, TABLES + 1))
    assert "slices" in manifest.requires
    assert len(found) == with_rows + 1
    assert TABLES / SHARED_MOST <= manifest.totals.chunks <= TABLES / SHARED_LEAST
    assert [chunk.whole for chunk in found["looks_small"]] == [0], (
        "it has more text than others can share with"
    )
    assert manifest.totals.bytes == sum(chunk.bytes for records in found.values() for chunk in records)
    assert len(verbs.store.keys("shop/chunks/")) == manifest.totals.chunks == manifest.totals.new_chunks
    proven = verbs.verify()
    assert (proven.verdict, proven.reasons) == ("proven", [])
    again = target(server18, "many again")
    assert verbs.restore(again).digests_equal
    assert dumped(postgres_root, again) == dumped(postgres_root, many)


def test_one_change_stores_one_chunk(verbs: Verbs, many: Target) -> None:
    def new_chunks(hours: int) -> int:
        verbs.backup(many, time=START + timedelta(hours=hours))
        return verbs.manifest().totals.new_chunks

    assert new_chunks(0) > 1
    assert new_chunks(1) == 0
    sql(many, "UPDATE t_7 SET words = 'other' WHERE id = 1")
    assert new_chunks(2) == 1
    sql(many, "CREATE TABLE t_7b AS SELECT 1 AS one")
    assert 1 <= new_chunks(3) <= 2
    assert verbs.verify().verdict == "proven"


def test_a_table_comes_back_out_of_a_chunk_that_others_share(verbs: Verbs, many: Target) -> None:
    verbs.backup(many)
    before = sql(many, "SELECT * FROM t_9")
    sql(many, "DELETE FROM t_9")
    result = verbs.restore(many, mode="tables", tables=["public.t_9"], into="rescue")
    assert (result.rows, result.digests_equal) == (4, True)
    assert sql(many, "SELECT * FROM rescue.t_9") == before


def test_damage_is_told_of_each_table_that_shares_the_chunk(verbs: Verbs, many: Target) -> None:
    verbs.backup(many)
    found = chunks(verbs)
    (hit,) = found["t_9"]
    verbs.store.tamper(hit.key, lambda body: body[:-1] + bytes([body[-1] ^ 1]))  # type: ignore[attr-defined]
    result = verbs.verify()
    sharing = {name for name, records in found.items() if records[0].key == hit.key}
    assert len(sharing) > 1
    assert result.verdict == "failed"
    assert {reason.object for reason in result.reasons} == {hit.key}
    assert {reason.message.rpartition("public.")[2].rstrip(")") for reason in result.reasons} == sharing


def test_sealed_slices_are_proven(verbs: Verbs, many: Target) -> None:
    verbs.backup(many, seal_key=KEY)
    assert {"seal-1", "slices"} <= set(verbs.manifest().requires)
    assert verbs.verify().verdict == "proven"


def test_a_reader_that_does_not_know_slices_refuses(
    verbs: Verbs, many: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs.backup(many)
    monkeypatch.setattr(manifests, "CAPABILITIES", manifests.CAPABILITIES - {"slices"})
    with pytest.raises(FormatUnsupportedError, match="slices"):
        verbs.manifest()
