"""Foreign tables come back, and neither a restore nor a proof asks their servers for anything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.server import EphemeralServer
from tests.fakes.store import START
from tests.support.postgres import create, customer_server, dumped, sql, target
from tests.support.restoring import WAYS, restored
from tests.support.vault import Verbs

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
CACHED = (
    "CREATE TABLE broken (id int PRIMARY KEY, up int REFERENCES broken)",
    "CREATE EXTENSION postgres_fdw",
    "CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1')",
    "CREATE USER MAPPING FOR PUBLIC SERVER away OPTIONS (user 'x', password 'x')",
    "CREATE FOREIGN TABLE far (a int) SERVER away",
    "CREATE VIEW between AS SELECT a FROM far",
    "CREATE MATERIALIZED VIEW near AS SELECT a FROM between WITH NO DATA",
    "CREATE MATERIALIZED VIEW next AS SELECT a FROM near WITH NO DATA",
    # As if the other server had answered.
    "UPDATE pg_class SET relispopulated = true WHERE relname IN ('near', 'next')",
)


@pytest.fixture(scope="module", params=MAJORS)
def server(
    request: pytest.FixtureRequest, postgres_root: Path, scratch_root: Path
) -> Iterator[EphemeralServer]:
    with customer_server(postgres_root, request.param, scratch_root) as made:
        yield made


@pytest.mark.parametrize("machine", WAYS)
def test_tables_with_foreign_parts_are_restored_without_statistics_and_that_is_told(
    server: EphemeralServer, served: Verbs, catalogue: Catalogue, postgres_root: Path, machine: bool
) -> None:
    made = create(server, f"parts{machine}", PARTS)
    served.backup(made)
    assert served.verify().verdict == "proven"
    to = target(server, f"out{machine}")
    told = restored(served, catalogue, to, machine=machine)
    assert dumped(postgres_root, to) == dumped(postgres_root, made)
    (message,) = [one["message"] for one in told if one["code"] == "statistics-left-out"]
    assert message.startswith("no statistics were gathered of public.divided, public.middle, public.parent")
    known = sql(to, "SELECT relname FROM pg_class WHERE relkind = 'r' AND oid > 16383 AND reltuples > 0")
    assert {row[0] for row in known} == {"near", "alone"}


def test_a_view_of_another_servers_rows_is_not_proven_and_has_not_failed(
    server: EphemeralServer, served: Verbs
) -> None:
    """A proof has no network; what else is wrong is found all the same."""
    made = create(server, "cached", *CACHED)
    served.backup(made)
    found = served.verify()
    assert found.verdict == "inconclusive"
    assert [(one.code, one.object) for one in found.reasons] == [
        ("unproven-materialized-view", "public.near"),
        ("unproven-materialized-view", "public.next"),
    ]
    assert found.compared.tables == 1
    sql(made, "ALTER TABLE broken DISABLE TRIGGER ALL", "INSERT INTO broken VALUES (1, 7)")
    served.backup(made, time=START + timedelta(hours=1))
    worse = served.verify()
    assert worse.verdict == "failed"
    assert "exception-foreign-key" in [one.code for one in worse.reasons]
