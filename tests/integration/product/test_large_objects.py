"""Large objects are stored once, change by themselves, and come back byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import FormatUnsupportedError
from coffre.vault import manifest as manifests
from coffre.vault.manifest import LARGE_OBJECTS
from coffre.vault.parts import Relation
from coffre.vault.reader import read_part
from tests.fakes.kms import KEY
from tests.fakes.store import START
from tests.support.postgres import create, dumped, sql, target
from tests.support.vault import ServedStore, Verbs

OBJECTS = 40
BYTES = 512_000
NOISE = f"""
SELECT lo_from_bytea(5000 + i, string_agg(sha256(convert_to(i || '/' || n, 'UTF8')), ''))
FROM generate_series(1, {OBJECTS}) i, generate_series(1, {BYTES // 32}) n GROUP BY i
"""
FILES = "CREATE TABLE files AS SELECT 'file ' || i AS name, 5000 + i AS content FROM generate_series(1, 9) i"


@pytest.fixture
def source(server18: EphemeralServer, request: pytest.FixtureRequest) -> Target:
    """A database of a test's own."""
    return create(server18, request.node.name[-63:], FILES, NOISE)


@pytest.fixture
def verbs(postgres_root: Path, scratch_root: Path) -> Iterator[Verbs]:
    with ServedStore() as store:
        yield Verbs(store, postgres_root, scratch_root)


def pieces(verbs: Verbs) -> int:
    """In how many pieces the newest backup's objects were read."""
    records = (record for part in verbs.manifest().parts for record in read_part(verbs.store, part))
    return sum(isinstance(record, Relation) and not record.is_table for record in records)


@pytest.mark.parametrize("seal_key", [None, KEY], ids=["open", "sealed"])
def test_they_are_read_by_all_workers_stored_as_they_are_proven_and_restored(
    verbs: Verbs, source: Target, server18: EphemeralServer, postgres_root: Path, seal_key: str | None
) -> None:
    verbs.backup(source, seal_key=seal_key)
    manifest = verbs.keys.load(verbs.store, "shop", "latest")[0]
    assert manifest.file("large_objects") is None
    assert (manifest.totals.large_objects, manifest.totals.relations, manifest.totals.rows) == (OBJECTS, 1, 9)
    assert OBJECTS * BYTES < manifest.totals.bytes < 1.01 * OBJECTS * BYTES
    assert manifest.totals.stored_bytes < 1.01 * manifest.totals.bytes, "noise can't be packed"
    proven = verbs.verify()
    assert (proven.verdict, proven.reasons) == ("proven", [])
    assert (proven.compared.large_objects, proven.compared.tables, proven.compared.rows) == (OBJECTS, 1, 9)
    again = target(server18, f"again {seal_key is None}")
    assert verbs.restore(again).digests_equal
    assert dumped(postgres_root, again) == dumped(postgres_root, source)


def test_what_did_not_change_is_not_stored_again(verbs: Verbs, source: Target) -> None:
    def new_bytes(hours: int) -> int:
        verbs.backup(source, time=START + timedelta(hours=hours))
        return verbs.manifest().totals.new_bytes

    assert new_bytes(0) > OBJECTS * BYTES
    assert pieces(verbs) > 3
    assert new_bytes(1) == 0
    sql(source, "SELECT lo_put(5007, 100000, 'another')")
    assert 0 < new_bytes(2) < 4 * BYTES
    sql(source, "SELECT lo_unlink(5001)")
    assert 0 <= new_bytes(3) < 8 * BYTES, "an edge depends on one object"
    sql(source, "SELECT lo_from_bytea(9000, 'one more')")
    assert 0 < new_bytes(4) < 8 * BYTES


def test_a_version_that_does_not_know_them_refuses_the_backup(
    verbs: Verbs, source: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs.backup(source)
    monkeypatch.setattr(manifests, "CAPABILITIES", manifests.CAPABILITIES - {LARGE_OBJECTS})
    with pytest.raises(FormatUnsupportedError, match=LARGE_OBJECTS):
        verbs.manifest()
