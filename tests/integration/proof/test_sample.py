"""A backup too large for the proof's disk is proven by sample: never more is said than was restored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.registration import OwnersCheck, Registration
from coffre.prove.fit import LEAST_FREE, SERVER_BYTES
from coffre.results import VerifyResult
from tests.integration.proof.conftest import Bench
from tests.support.postgres import customer_server
from tests.support.vault import ServedStore, Verbs

ROOM = LEAST_FREE + SERVER_BYTES + (4 << 20)
"""Bytes of scratch space: the schema and somewhat more than a megabyte of rows fit."""

SOURCE = """
CREATE TABLE giants (id int PRIMARY KEY, kind text, body text);
INSERT INTO giants SELECT n, 'k' || n % 3, repeat('x', 500) FROM generate_series(1, 6000) n;
CREATE TABLE dwarfs (id int PRIMARY KEY, giant int CONSTRAINT of_giant REFERENCES giants);
COMMENT ON CONSTRAINT of_giant ON dwarfs IS 'none stands alone';
INSERT INTO dwarfs SELECT n, n FROM generate_series(1, 300) n;
CREATE TABLE tools (id int PRIMARY KEY, dwarf int CONSTRAINT of_dwarf REFERENCES dwarfs);
INSERT INTO tools SELECT n, n FROM generate_series(1, 200) n;
ALTER TABLE giants ADD COLUMN tool int CONSTRAINT with_tool REFERENCES tools;

CREATE TABLE lots (id int, giant int REFERENCES giants) PARTITION BY RANGE (id);
COMMENT ON CONSTRAINT lots_giant_fkey ON lots IS 'on each partition';
CREATE TABLE lots1 PARTITION OF lots FOR VALUES FROM (0) TO (100);
CREATE TABLE lots2 PARTITION OF lots FOR VALUES FROM (100) TO (1000);
INSERT INTO lots SELECT n, n FROM generate_series(1, 200) n;

CREATE FUNCTION known(text) RETURNS boolean LANGUAGE plpgsql
    AS 'BEGIN RETURN EXISTS (SELECT FROM public.giants WHERE kind = $1); END';
CREATE TABLE kinds (kind text CONSTRAINT known CHECK (public.known(kind)));
INSERT INTO kinds VALUES ('k1'), ('k2');
CREATE FUNCTION ratio() RETURNS bigint LANGUAGE plpgsql
    AS 'BEGIN RETURN 6000 / (SELECT count(*) FROM public.giants); END';

CREATE MATERIALIZED VIEW of_dwarfs AS SELECT giant FROM dwarfs;
CREATE INDEX ON of_dwarfs (giant);
CREATE MATERIALIZED VIEW of_giants AS SELECT id FROM giants;
CREATE MATERIALIZED VIEW of_views AS SELECT count(*) AS n FROM of_giants;
CREATE MATERIALIZED VIEW of_ratio AS SELECT public.ratio() AS n;
CREATE MATERIALIZED VIEW of_nothing AS SELECT n FROM of_ratio;
CREATE MATERIALIZED VIEW "of
both" AS SELECT d.id FROM dwarfs d JOIN giants g ON g.id = d.giant;

SELECT lo_from_bytea(4711, 'here');
COMMENT ON LARGE OBJECT 4711 IS 'a large one';
"""

CHECKS = [
    OwnersCheck(name="dwarfs", sql="SELECT count(*) = 300 FROM dwarfs"),
    OwnersCheck(name="view", sql="SELECT count(*) = 300 FROM of_dwarfs"),
    OwnersCheck(name="tainted", sql="SELECT n = 6000 FROM of_views"),
    OwnersCheck(name="no giants", sql="SELECT count(*) = 0 FROM giants"),
    OwnersCheck(name="joined", sql="SELECT count(*) = 300 FROM dwarfs d JOIN giants g ON g.id = d.giant"),
    OwnersCheck(name="function", sql="SELECT known('k1')"),
    OwnersCheck(name="error", sql="SELECT ratio() = 1"),
    OwnersCheck(name="unfilled", sql="SELECT count(*) = 1 FROM of_nothing"),
    OwnersCheck(name="as text", sql="SELECT query_to_xml('SELECT id FROM giants', true, true, '') IS NULL"),
    OwnersCheck(name="large object", sql="SELECT lo_get(4711) = 'here'"),
]


@pytest.fixture(scope="module")
def giants(server: EphemeralServer, postgres_root: Path, scratch_root: Path) -> Iterator[Bench]:
    with ServedStore() as store:
        verbs = Verbs(store, postgres_root, scratch_root)
        verbs.scratch_bytes = ROOM
        bench = Bench(server, store, verbs)
        bench.back_up(SOURCE)
        yield bench


def codes(proof: VerifyResult) -> dict[str, list[str]]:
    """What was found, by its code."""
    found: dict[str, list[str]] = {}
    for reason in proof.reasons:
        found.setdefault(reason.code, []).append(reason.object)
    return found


def test_what_rests_on_rows_that_were_not_restored_neither_fails_nor_counts_as_proven(giants: Bench) -> None:
    proof = giants.prove(Registration(secret="-", checks=CHECKS))
    found = codes(proof)
    assert proof.verdict == "inconclusive"
    assert not [reason for reason in proof.reasons if reason.level == "refuse"], proof.reasons
    assert (proof.reasons[0].code, proof.reasons[0].message) == (
        "sampled",
        "sampled 5 of 6 tables, 0.1 %; 1 large objects were not restored",
    )
    assert found["unproven-constraint"] == ["public.kinds: known"]
    assert set(found["unproven-materialized-view"]) == {
        f"public.{name}" for name in ("of_giants", "of_views", "of_ratio", "of_nothing", "of\nboth")
    }
    keys = next(reason for reason in proof.reasons if reason.code == "unproven-foreign-keys")
    assert keys.count == 2
    assert all(name in keys.message for name in ("public.dwarfs.of_giant to", "public.giants.with_tool to"))
    assert "of_dwarf" not in keys.message, "both of its tables were restored"
    assert [name.split()[-2] for name in found["unproven-object"]] == ["lots_giant_fkey"]
    assert set(found["unproven-check"]) == {check.name for check in CHECKS[2:]}
    assert set(found) == {
        "sampled",
        "unproven-constraint",
        "unproven-materialized-view",
        "unproven-foreign-keys",
        "unproven-object",
        "unproven-check",
    }
    sample, compared = proof.sample, proof.compared
    assert sample is not None
    assert (sample.tables, sample.of_tables, sample.of_bytes) == (5, 6, proof.bytes)
    assert sorted(sample.names) == [
        f"public.{name}" for name in ("dwarfs", "kinds", "lots1", "lots2", "tools")
    ]
    assert (compared.tables, compared.digests, compared.rows) == (5, 5, 702)
    assert (compared.constraints, compared.indexes) == (3, 3), "two primary keys, a foreign key; an index"
    assert (compared.materialized_views, compared.large_objects) == (1, 0)
    assert (compared.comments, compared.checks) == (1, 2)


def test_the_owners_critical_tables_are_restored_as_far_as_they_fit(giants: Bench) -> None:
    giants.verbs.scratch_bytes = ROOM
    proof = giants.prove(Registration(secret="-", critical_tables=["giants", "kinds", "public.lots"]))
    assert proof.sample is not None
    assert proof.sample.names[0] == "public.kinds", "giants don't fit"
    assert set(proof.sample.names[1:3]) == {"public.lots1", "public.lots2"}


def test_a_backup_that_fits_is_proven_whole(giants: Bench) -> None:
    giants.verbs.scratch_bytes = 1 << 30
    try:
        proof = giants.prove()
    finally:
        giants.verbs.scratch_bytes = ROOM
    assert (proof.verdict, proof.reasons, proof.sample) == ("proven", [], None)


def test_where_no_table_fits_the_schema_alone_proves_nothing(bench: Bench) -> None:
    bench.verbs.scratch_bytes = ROOM
    bench.back_up(
        "CREATE TABLE giants (id int PRIMARY KEY, body text)",
        "INSERT INTO giants SELECT n, repeat('x', 500) FROM generate_series(1, 6000) n",
    )
    proof = bench.prove()
    assert (proof.verdict, proof.sample) == ("inconclusive", None)
    assert proof.reasons[0].code == "nothing-fits"


def test_what_postgresql_14_cant_tell_is_named_and_fails_nothing(
    postgres_root: Path, scratch_root: Path
) -> None:
    """Its statistics need a network, which a proof's box hasn't: why something failed can't be told."""
    with customer_server(postgres_root, 14, scratch_root) as old, ServedStore() as store:
        verbs = Verbs(store, postgres_root, scratch_root)
        verbs.scratch_bytes = ROOM
        bench = Bench(old, store, verbs)
        bench.back_up(SOURCE)
        proof = bench.prove(Registration(secret="-", checks=CHECKS))
    found = codes(proof)
    assert proof.verdict == "inconclusive"
    assert not [reason for reason in proof.reasons if reason.level == "refuse"], proof.reasons
    assert {name.split()[-2] for name in found["unproven-object"]} == {"lots_giant_fkey", "of_giant"}
    assert set(found["unproven-check"]) == {check.name for check in CHECKS[2:]}
    assert len(found["unproven-materialized-view"]) == 5
    assert "this server can't tell" in next(r.message for r in proof.reasons if r.object == "error")


def test_a_row_that_differs_in_a_table_that_was_restored_fails_the_sample(
    server: EphemeralServer, postgres_root: Path, scratch_root: Path
) -> None:
    """The restored database's own code changes it; and what violates a constraint of its own is no excuse."""
    spoil = "IF current_database() = 'proof' THEN UPDATE public.dwarfs SET giant = 7 WHERE id = 9; END IF"
    with ServedStore() as store:
        verbs = Verbs(store, postgres_root, scratch_root)
        verbs.scratch_bytes = ROOM
        Bench(server, store, verbs).back_up(
            "CREATE TABLE giants (id int PRIMARY KEY, body text)",
            "INSERT INTO giants SELECT n, repeat('x', 500) FROM generate_series(1, 6000) n",
            "CREATE TABLE dwarfs (id int PRIMARY KEY, giant int REFERENCES giants)",
            "INSERT INTO dwarfs SELECT n, n FROM generate_series(1, 300) n",
            "CREATE TABLE tools (id int, dwarf int CONSTRAINT of_dwarf REFERENCES dwarfs)",
            "SET session_replication_role = replica; INSERT INTO tools VALUES (1, 1), (2, -2), (3, -3)",
            f"CREATE FUNCTION spoil() RETURNS int LANGUAGE plpgsql AS $$ BEGIN {spoil}; RETURN 1; END $$",
            "CREATE MATERIALIZED VIEW spoiled AS SELECT public.spoil()",
        )
        proof = verbs.verify()
    found = codes(proof)
    assert proof.verdict == "failed"
    assert found["content-differs"] == ["public.dwarfs"]
    assert [reason.count for reason in proof.reasons if reason.code == "exception-foreign-key"] == [2]
    assert set(found) == {
        "restores-with-exceptions",
        "exception-foreign-key",
        "content-differs",
        "unproven-foreign-keys",
    }
    assert proof.sample is not None
    assert proof.sample.names, "how much was restored is told all the same"
