"""What a restore must not run, lose or turn on (faults A16, A17, A18, A27), and what a proof compares."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.described import compare_described, compare_roles, read_described
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.databases.registration import Registration
from coffre.errors import CatalogueUnavailableError
from coffre.results import VerifyResult
from coffre.vault.parts import OPTIONS, Role
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.store import START
from tests.fakes.tables import TABLE
from tests.integration.proof.conftest import Bench
from tests.support.postgres import create, customer_server, sql, target
from tests.support.vault import DATABASE, ServedStore, Verbs

SOURCE = """
CREATE TABLE log (id serial PRIMARY KEY, what int, twice int GENERATED ALWAYS AS (what * 2) STORED);
CREATE FUNCTION no_refresh() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'no % here', tg_tag; END $$;
CREATE TYPE color AS ENUM ('red', 'green', 'blue', 'black');
CREATE TABLE hashed (color color, id int) PARTITION BY HASH (color);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed SELECT (enum_range(NULL::color))[n % 4 + 1], n FROM generate_series(1, 100) n;
CREATE TABLE ruled (id int); INSERT INTO ruled VALUES (1), (2);
CREATE RULE away AS ON INSERT TO ruled DO INSTEAD NOTHING;
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TABLE swallowed (id int); INSERT INTO swallowed VALUES (1), (2), (3);
CREATE TRIGGER swallow BEFORE INSERT ON swallowed FOR EACH ROW EXECUTE FUNCTION swallow();
CREATE TRIGGER sleeping AFTER INSERT ON swallowed FOR EACH ROW EXECUTE FUNCTION swallow();
ALTER TABLE swallowed DISABLE TRIGGER sleeping;
CREATE MATERIALIZED VIEW full_view AS SELECT count(*) AS n FROM hashed;
CREATE MATERIALIZED VIEW stale AS SELECT 1 AS one WITH NO DATA;
CREATE TABLE unchecked (id int); INSERT INTO unchecked VALUES (-1);
ALTER TABLE unchecked ADD CONSTRAINT positive CHECK (id > 0) NOT VALID;
CREATE INDEX broken ON swallowed (id); CREATE INDEX whole ON swallowed (id);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass;
CREATE ROLE kept_reader; CREATE ROLE kept_group; GRANT kept_group TO kept_reader;
GRANT SELECT ON ruled TO kept_reader; GRANT UPDATE (id) ON ruled TO kept_group WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION swallow() FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO kept_reader;
COMMENT ON TABLE ruled IS 'nothing gets in'; COMMENT ON COLUMN ruled.id IS 'a number';
COMMENT ON INDEX broken IS 'goes with its index';
SELECT lo_from_bytea(77, 'x'); GRANT SELECT ON LARGE OBJECT 77 TO kept_reader;
CREATE EVENT TRIGGER watch ON ddl_command_start WHEN TAG IN ('REFRESH MATERIALIZED VIEW', 'CREATE TRIGGER')
    EXECUTE FUNCTION no_refresh();
COMMENT ON EVENT TRIGGER watch IS 'comes last';
"""


@pytest.fixture(scope="module")
def source(server: EphemeralServer) -> Target:
    return create(server, "kept", SOURCE)


@pytest.fixture(scope="module")
def store() -> Iterator[ServedStore]:
    with ServedStore() as made:
        yield made


@pytest.fixture(scope="module")
def verbs(source: Target, store: ServedStore, postgres_root: Path, scratch_root: Path) -> Verbs:
    """With one backup of the source."""
    made = Verbs(store, postgres_root, scratch_root)
    result = made.backup(source)
    lost = [finding for finding in result.findings if finding.code == "invalid-index"]
    assert [finding.object for finding in lost] == ["public.broken"], "pg_dump leaves it out: say so"
    return made


@pytest.fixture(scope="module")
def proof(verbs: Verbs) -> VerifyResult:
    return verbs.verify()


def test_rules_triggers_and_event_triggers_dont_run_and_states_are_kept(
    verbs: Verbs, proof: VerifyResult, server: EphemeralServer
) -> None:
    assert (proof.reasons, proof.verdict) == ([], "proven")
    made = target(server, "kept again")
    verbs.restore(made)
    counts = (
        "SELECT (SELECT count(*) FROM hashed), (SELECT count(*) FROM ruled), (SELECT count(*) FROM swallowed)"
    )
    assert sql(made, counts) == [[100, 2, 3]]
    assert sql(made, "SELECT n FROM full_view") == [[100]]
    assert sql(made, "SELECT relispopulated FROM pg_class WHERE relname = 'stale'") == [[False]]
    assert sql(made, "SELECT convalidated FROM pg_constraint WHERE conname = 'positive'") == [[False]]
    assert sql(made, "SELECT tgenabled FROM pg_trigger WHERE tgname = 'sleeping'") == [["D"]]
    assert sql(made, "SELECT count(*) FROM pg_class WHERE relname IN ('broken', 'whole')") == [[1]]
    assert sql(made, "SELECT obj_description(oid, 'pg_event_trigger') FROM pg_event_trigger") == [
        ["comes last"]
    ]


def test_the_report_says_everything_that_was_compared(proof: VerifyResult) -> None:
    compared = proof.compared.model_dump()
    assert [name for name, number in compared.items() if not number] == ["checks"]
    assert (compared["grants"], compared["comments"], compared["memberships"]) == (
        6,
        2,
        compared["memberships"],
    )
    assert compared["roles"] >= 4


@pytest.mark.parametrize(
    ("change", "code", "what"),
    [
        ("REVOKE SELECT ON ruled FROM kept_reader", "grants-differ", "table public.ruled"),
        ("GRANT SELECT ON log TO PUBLIC", "grants-differ", "table public.log"),
        ("REVOKE UPDATE (id) ON ruled FROM kept_group", "grants-differ", "table column public.ruled.id"),
        ("GRANT EXECUTE ON FUNCTION swallow() TO PUBLIC", "grants-differ", "function public.swallow()"),
        ("REVOKE SELECT ON LARGE OBJECT 77 FROM kept_reader", "grants-differ", "large object 77"),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", "grants-differ", "schema public"),
        ("COMMENT ON SCHEMA public IS 'ours'", "comment-differs", "schema public"),
        ("COMMENT ON TABLE ruled IS 'another'", "comment-differs", "table public.ruled"),
        ("COMMENT ON COLUMN ruled.id IS NULL", "comment-differs", "table column public.ruled.id"),
    ],
)
def test_every_right_and_comment_that_differs_is_named(
    source: Target, change: str, code: str, what: str
) -> None:
    with open_session(source, seconds=60) as session:
        recorded = read_described(session)
        assert compare_described(session, recorded, level="refuse") == []
        session.run("BEGIN")
        session.run("SET search_path = public")
        session.run(change)
        session.run("SET search_path = ''")
        differences = compare_described(session, recorded, level="refuse")
        session.run("ROLLBACK")
    assert [(found.code, found.object) for found in differences] == [(code, what)]


@pytest.mark.parametrize("major", [14, 16])
def test_the_schema_public_is_proven_with_its_owner_rights_and_comment(
    postgres_root: Path, scratch_root: Path, major: int
) -> None:
    changes = [
        "SELECT 1",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC, pg_database_owner",
        "GRANT ALL ON SCHEMA public TO PUBLIC; GRANT CREATE ON SCHEMA public TO app WITH GRANT OPTION",
        "ALTER SCHEMA public OWNER TO app; COMMENT ON SCHEMA public IS 'of the app'",
        "DROP SCHEMA public; CREATE SCHEMA public AUTHORIZATION app; GRANT USAGE ON SCHEMA public TO PUBLIC",
        "DROP SCHEMA public",
    ]
    with customer_server(postgres_root, major, scratch_root) as server, ServedStore() as store:
        verbs = Verbs(store, postgres_root, scratch_root)
        sql(target(server, "postgres"), "CREATE ROLE app")
        for number, change in enumerate(changes):
            made = create(server, f"changed{number}", change, "CREATE SCHEMA kept; CREATE TABLE kept.t ()")
            verbs.backup(made, time=START + timedelta(hours=number))
            found = verbs.verify()
            assert (found.verdict, found.reasons) == ("proven", []), change


def test_a_backup_that_doesnt_record_the_schema_public_isnt_held_against_it(source: Target) -> None:
    with open_session(source, seconds=60) as session:
        recorded = [one for one in read_described(session) if one.name != "public"]
        assert compare_described(session, recorded, level="refuse") == []


def test_rights_written_in_another_way_are_the_same(source: Target) -> None:
    with open_session(source, seconds=60) as session:
        recorded = read_described(session)
        session.run("BEGIN")
        session.run("GRANT SELECT ON public.log TO kept_reader")
        session.run("REVOKE SELECT ON public.log FROM kept_reader")
        assert compare_described(session, recorded, level="refuse") == []
        session.run("ROLLBACK")


def test_roles_are_compared_with_their_memberships(source: Target) -> None:
    roles = [Role("kept_reader", (), ("kept_group",)), Role("kept_group", ()), Role("kept_nobody", ())]
    with open_session(source, seconds=60) as session:
        assert [found.object for found in compare_roles(session, roles)] == ["kept_nobody"]
        wrong = [Role("kept_reader", ()), Role("kept_group", (), ("kept_reader",))]
        assert [found.object for found in compare_roles(session, wrong)] == ["kept_reader", "kept_group"]


@pytest.mark.parametrize("option", sorted(OPTIONS - {"INHERIT TRUE"}))
def test_each_option_of_a_membership_is_compared(source: Target, option: str) -> None:
    roles = [Role("kept_reader", (), ("kept_group",), options=(("kept_group", option),))]
    with open_session(source, seconds=60) as session:
        (found,) = compare_roles(session, roles)
        assert found.message == (
            f"role kept_reader is a member of ['kept_group'], expected ['kept_group with {option}']"
        )
        session.run("BEGIN")
        session.run(f"GRANT kept_group TO kept_reader WITH {option}")
        assert compare_roles(session, roles) == []
        session.run("ROLLBACK")


def test_a_database_without_tables_is_not_proven(bench: Bench) -> None:
    """Zero things compared is a failure."""
    bench.back_up("CREATE VIEW one AS SELECT 1 AS one")
    proof = bench.prove()
    assert (proof.verdict, [reason.code for reason in proof.reasons]) == ("failed", ["nothing-compared"])


def test_a_proof_that_isnt_due_leaves_the_one_that_there_is(
    verbs: Verbs, proof: VerifyResult, store: ServedStore
) -> None:
    kept = {item.key for item in store.objects("")}
    again = verbs.verify(registration=Registration(secret="-", prove="never"))
    codes = [reason.code for reason in again.reasons]
    assert (again.verdict, codes) == ("inconclusive", ["not-due", "verdict-stands"])
    assert again.evidence == proof.evidence
    assert {item.key for item in store.objects("")} == kept, "no other evidence"


def test_a_verdict_that_stands_is_told_to_a_catalogue_that_missed_it(
    server: EphemeralServer, postgres_root: Path, scratch_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = Catalogue(MemoryDynamo(), TABLE)
    with ServedStore() as store:
        verbs = Verbs(store, postgres_root, scratch_root, catalogue)
        taken = verbs.backup(create(server, "missed", "CREATE TABLE t AS SELECT 1 AS n"))
        with monkeypatch.context() as patched:
            patched.setattr(Catalogue, "verdict", Mock(side_effect=CatalogueUnavailableError("throttled")))
            with pytest.raises(CatalogueUnavailableError):
                verbs.verify()
        assert verbs.verify(registration=Registration(secret="-", prove="never")).verdict == "inconclusive"
    entry = catalogue.backup(DATABASE, taken.backup_id)
    assert entry is not None
    assert entry.verdict == "proven"


def test_latest_is_not_the_safety_backup_that_a_restore_took(bench: Bench) -> None:
    source = bench.back_up("CREATE TABLE t AS SELECT 1 AS n")
    meant = bench.verbs.manifest().id
    bench.verbs.backup(source, kind="safety", time=START + timedelta(hours=1))
    assert bench.prove().backup_id == meant
