"""Sources that break their own rules (faults A13 to A15): named with object and count, the rest restored."""

from __future__ import annotations

from datetime import timedelta

import pytest

from coffre.errors import RestoreExceptionsError
from tests.fakes.store import START
from tests.integration.proof.conftest import Bench, found
from tests.support.postgres import databases, sql

REST = "CREATE TABLE rest AS SELECT n AS id FROM generate_series(1, 50) n; CREATE INDEX ON rest (id)"


def violated(kind: str) -> str:
    return {
        "check": """
            CREATE FUNCTION fits(int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
            CREATE TABLE t (id int PRIMARY KEY, CONSTRAINT fits CHECK (public.fits(id)));
            INSERT INTO t SELECT generate_series(1, 20);
            CREATE OR REPLACE FUNCTION fits(int) RETURNS boolean LANGUAGE sql AS 'SELECT $1 > 3'""",
        "domain": """
            CREATE FUNCTION fits(int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
            CREATE DOMAIN fitting AS int CONSTRAINT fits CHECK (public.fits(VALUE));
            CREATE TABLE t (id int PRIMARY KEY, value fitting, several fitting[]);
            INSERT INTO t SELECT n, n FROM generate_series(1, 20) n;
            CREATE OR REPLACE FUNCTION fits(int) RETURNS boolean LANGUAGE sql AS 'SELECT $1 > 3'""",
        "foreign-key": """
            CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents SELECT generate_series(4, 20);
            CREATE TABLE t (id int, CONSTRAINT of_parent FOREIGN KEY (id) REFERENCES parents (id));
            SET session_replication_role = replica;
            INSERT INTO t SELECT generate_series(1, 20); INSERT INTO t VALUES (NULL)""",
        "constraint": """
            CREATE TABLE t (id int CONSTRAINT one_each UNIQUE);
            INSERT INTO t SELECT generate_series(1, 17);
            UPDATE pg_index SET indisready = false, indislive = false
                WHERE indexrelid = 'one_each'::regclass;
            INSERT INTO t VALUES (1), (1), (NULL);
            UPDATE pg_index SET indisready = true, indislive = true
                WHERE indexrelid = 'one_each'::regclass""",
    }[kind]


@pytest.mark.parametrize("kind", ["check", "domain", "foreign-key", "constraint"])
def test_rows_that_violate_a_constraint_are_counted_and_everything_else_is_restored(
    bench: Bench, kind: str
) -> None:
    source = bench.back_up(violated(kind), REST)
    proof = bench.prove()
    assert (proof.verdict, proof.reasons[0].code) == ("failed", "restores-with-exceptions")
    assert found(proof.reasons) == {f"exception-{kind}": 3}
    assert [r.code for r in proof.reasons[1:]] == [f"exception-{kind}"], "and nothing else differs"
    assert "public" in proof.reasons[1].object
    assert proof.reasons[1].advice

    before = databases(bench.server)
    with pytest.raises(RestoreExceptionsError, match="3 rows"):
        bench.verbs.restore(bench.new_database())
    assert databases(bench.server) == before
    made, result = bench.restore()
    assert (found(result.exceptions), result.digests_equal) == ({f"exception-{kind}": 3}, True)
    for table in ("t", "rest"):
        assert sql(made, f"SELECT count(*) FROM {table}") == sql(source, f"SELECT count(*) FROM {table}")
    if kind != "constraint":
        assert sql(made, "SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == [[1]]


def test_a_check_that_reads_another_table_is_put_back_when_all_rows_are_there(bench: Bench) -> None:
    """Loaded in the wrong order its rows violate it, and in the end they don't: that is no exception."""
    bench.back_up(
        """CREATE TABLE zz_kinds (kind text); INSERT INTO zz_kinds VALUES ('a');
        CREATE FUNCTION known(text) RETURNS boolean LANGUAGE sql
            AS 'SELECT EXISTS (SELECT FROM public.zz_kinds WHERE kind = $1)';
        CREATE TABLE items (kind text CHECK (public.known(kind)));
        INSERT INTO items SELECT 'a' FROM generate_series(1, 5000)"""
    )
    proof = bench.prove()
    assert (proof.reasons, proof.verdict) == ([], "proven")
    made = bench.new_database()
    assert bench.verbs.restore(made).exceptions == []
    assert sql(made, "SELECT convalidated FROM pg_constraint WHERE conname = 'items_kind_check'") == [[True]]


def test_checks_of_partitions_come_back_on_every_level(bench: Bench) -> None:
    bench.back_up(
        """CREATE FUNCTION fits(int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
        CREATE TABLE p (id int, CONSTRAINT fits CHECK (public.fits(id))) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (100);
        INSERT INTO p SELECT generate_series(1, 20);
        CREATE OR REPLACE FUNCTION fits(int) RETURNS boolean LANGUAGE sql AS 'SELECT $1 > 3'"""
    )
    proof = bench.prove()
    assert found(proof.reasons) == {"exception-check": 3}
    assert not [reason for reason in proof.reasons if reason.code == "objects-missing"]
    made, _ = bench.restore()
    assert sql(made, "SELECT count(*) FROM p") == [[20]]
    assert sql(made, "SELECT count(*) FROM pg_constraint WHERE conname = 'fits'") == [[3]]


def test_generated_values_that_drifted_are_named(bench: Bench) -> None:
    bench.back_up(
        """CREATE FUNCTION rate() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2';
        CREATE TABLE bills (id int, gross int GENERATED ALWAYS AS (id * public.rate()) STORED);
        INSERT INTO bills SELECT generate_series(1, 40);
        CREATE TABLE fine (id int, twice int GENERATED ALWAYS AS (id * 2) STORED);
        INSERT INTO fine SELECT generate_series(1, 40);
        CREATE OR REPLACE FUNCTION rate() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 3'"""
    )
    proof = bench.prove()
    assert (proof.verdict, found(proof.reasons)) == ("failed", {"exception-generated": None})
    assert proof.reasons[1].object == "public.bills (gross)"
    assert "one or more of 40 rows" in proof.reasons[1].message
    assert proof.compared.generated == 2
    with pytest.raises(RestoreExceptionsError, match="gross"):
        bench.verbs.restore(bench.new_database())
    _, result = bench.restore()
    assert (found(result.exceptions), result.digests_equal) == ({"exception-generated": None}, False)


def test_functions_that_need_a_search_path_are_named_with_the_remedy(bench: Bench) -> None:
    source = bench.back_up(
        """CREATE FUNCTION plain(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)';
        CREATE FUNCTION folded(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN plain($1); END';
        CREATE TABLE words (word text, made text DEFAULT folded('X')); INSERT INTO words VALUES ('A'), ('B');
        CREATE INDEX by_folded ON words (folded(word));
        CREATE MATERIALIZED VIEW folds AS SELECT folded(word) AS word FROM words""",
        REST,
    )
    proof = bench.prove()
    assert proof.verdict == "failed"
    assert set(found(proof.reasons)) == {"exception-index", "exception-materialized-view"}
    assert all("SET search_path" in r.advice for r in proof.reasons if r.code.startswith("exception-"))
    assert {"by_folded", "folds"} <= {w for r in proof.reasons[1:] for w in r.object.split()}
    made, result = bench.restore()
    assert set(found(result.exceptions)) == {"exception-index", "exception-materialized-view"}
    assert sql(made, "SELECT word FROM words") == [["A"], ["B"]]

    sql(source, "ALTER FUNCTION folded(text) SET search_path = public")
    bench.verbs.backup(source, time=START + timedelta(hours=1))
    assert bench.prove().verdict == "proven"
