"""Foreign tables come back, and neither a restore nor a proof asks their servers for anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.server import EphemeralServer
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.tables import TABLE
from tests.support.postgres import create, customer_server, dumped, sql, target
from tests.support.restoring import WAYS, restored
from tests.support.vault import ServedStore, Verbs

MAJORS = (15, 18)
PARTS = """
CREATE EXTENSION postgres_fdw;
CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1');
CREATE USER MAPPING FOR PUBLIC SERVER away;
CREATE TABLE divided (a int) PARTITION BY RANGE (a);
CREATE TABLE near PARTITION OF divided FOR VALUES FROM (0) TO (10); INSERT INTO near VALUES (1), (2);
CREATE TABLE middle PARTITION OF divided FOR VALUES FROM (10) TO (30) PARTITION BY RANGE (a);
CREATE FOREIGN TABLE far PARTITION OF middle FOR VALUES FROM (10) TO (20) SERVER away;
CREATE TABLE parent (a int); INSERT INTO parent VALUES (1);
CREATE FOREIGN TABLE child () INHERITS (parent) SERVER away;
CREATE TABLE alone AS SELECT 1 AS a;
"""


@pytest.fixture(scope="module", params=MAJORS)
def server(
    request: pytest.FixtureRequest, postgres_root: Path, scratch_root: Path
) -> Iterator[EphemeralServer]:
    with customer_server(postgres_root, request.param, scratch_root) as made:
        yield made


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(MemoryDynamo(), TABLE)


@pytest.fixture
def verbs(catalogue: Catalogue, postgres_root: Path, scratch_root: Path) -> Iterator[Verbs]:
    with ServedStore() as store:
        yield Verbs(store, postgres_root, scratch_root, catalogue)


@pytest.mark.parametrize("machine", WAYS)
def test_tables_with_foreign_parts_are_restored_without_statistics_and_that_is_told(
    server: EphemeralServer, verbs: Verbs, catalogue: Catalogue, postgres_root: Path, machine: bool
) -> None:
    made = create(server, f"parts{machine}", PARTS)
    verbs.backup(made)
    assert verbs.verify().verdict == "proven"
    to = target(server, f"out{machine}")
    told = restored(verbs, catalogue, to, machine=machine)
    assert dumped(postgres_root, to) == dumped(postgres_root, made)
    (message,) = [one["message"] for one in told if one["code"] == "statistics-left-out"]
    assert message.startswith("no statistics were gathered of public.divided, public.middle, public.parent")
    known = sql(to, "SELECT relname FROM pg_class WHERE relkind = 'r' AND oid > 16383 AND reltuples > 0")
    assert {row[0] for row in known} == {"near", "alone"}
