"""Settings of a database and of roles come back, and keep neither the restore from its end nor anyone out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql import description
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.roles import read_database
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.vault.parts import DatabaseRecord
from tests.support.postgres import create, customer_server, databases, sql, target
from tests.support.restoring import WAYS, restored
from tests.support.vault import Verbs

MAJORS = (15, 18)
CONTENT = """
CREATE TABLE kept AS SELECT 1 AS a; ALTER TABLE kept OWNER TO app; CREATE TABLE seen (tag text);
CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO public.seen VALUES (tg_tag); END';
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION note();
CREATE EVENT TRIGGER again ON ddl_command_end WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION note();
COMMENT ON EVENT TRIGGER again IS 'with a comment'; ALTER EVENT TRIGGER again DISABLE;
"""
READ_ONLY = "default_transaction_read_only=on"
ABSENT, PRESENT = "session_preload_libraries=not_there", "session_preload_libraries=auto_explain"


@pytest.fixture(scope="module", params=MAJORS)
def servers(
    request: pytest.FixtureRequest, postgres_root: Path, scratch_root: Path
) -> Iterator[tuple[EphemeralServer, EphemeralServer]]:
    with (
        customer_server(postgres_root, request.param, scratch_root) as source,
        customer_server(postgres_root, request.param, scratch_root) as other,
    ):
        sql(target(source, "postgres"), "CREATE ROLE app LOGIN")
        yield source, other


@pytest.fixture
def source(servers: tuple[EphemeralServer, EphemeralServer]) -> Iterator[Target]:
    yield create(servers[0], "source", CONTENT)
    sql(target(servers[0], "postgres"), "DROP DATABASE source", "ALTER ROLE app RESET ALL")


@pytest.fixture
def to(servers: tuple[EphemeralServer, EphemeralServer]) -> Iterator[Target]:
    yield target(servers[1], "out")
    there = target(servers[1], "postgres")
    for name in databases(servers[1]) - {"postgres", "template0", "template1"}:
        sql(there, f'DROP DATABASE "{name}"')
    sql(there, "DROP ROLE IF EXISTS app, builder")


def settings(where: Target) -> tuple[tuple[str, str], ...]:
    with open_session(where, seconds=60) as session:
        return read_database(session).settings


@pytest.mark.parametrize("machine", WAYS)
def test_a_database_to_read_from_only_gets_its_event_triggers(
    source: Target, to: Target, verbs: Verbs, catalogue: Catalogue, machine: bool
) -> None:
    sql(source, "ALTER DATABASE source SET default_transaction_read_only = on")
    verbs.backup(source)
    restored(verbs, catalogue, to, machine=machine)
    asked = """SELECT evtname, evtenabled::text, evttags, obj_description(oid, 'pg_event_trigger')
               FROM pg_event_trigger ORDER BY 1"""
    assert sql(to, asked) == sql(source, asked)
    assert sql(to, "SELECT * FROM seen") == sql(source, "SELECT * FROM seen"), "none of them ran"
    assert settings(to) == (("", READ_ONLY),)


@pytest.mark.parametrize("machine", WAYS)
def test_no_library_that_isnt_there_keeps_everybody_out(
    source: Target,
    to: Target,
    verbs: Verbs,
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
    machine: bool,
) -> None:
    def recorded(session: Session) -> DatabaseRecord:
        """The source has the library; here that of its record is taken away."""
        found = read_database(session)
        return replace(found, settings=(*found.settings, ("", ABSENT)))

    sql(
        source,
        "ALTER ROLE app SET session_preload_libraries = not_there",
        "ALTER ROLE app IN DATABASE source SET session_preload_libraries = auto_explain",
        "ALTER ROLE app IN DATABASE source SET local_preload_libraries = not_there",
    )
    with monkeypatch.context() as patch:
        patch.setattr(description, "read_database", recorded)
        verbs.backup(source)
    told = restored(verbs, catalogue, to, machine=machine)
    left_out = [one["object"] for one in told if one["code"] == "setting-left-out"]
    assert sorted(left_out) == [
        "role app: local_preload_libraries",
        "role app: session_preload_libraries",
        "the database: session_preload_libraries",
    ]
    assert settings(to) == (("app", PRESENT),)
    assert sql(replace(to, user="app"), "SELECT a FROM kept") == [[1]]


def test_a_setting_that_a_swap_may_not_carry_over_is_told_without_its_value(
    source: Target, to: Target, verbs: Verbs, servers: tuple[EphemeralServer, EphemeralServer]
) -> None:
    verbs.backup(create(servers[0], "plain", "CREATE TABLE kept ()"))
    sql(target(servers[1], "postgres"), "CREATE ROLE builder LOGIN CREATEDB")
    place = create(servers[1], "place")
    sql(place, "ALTER DATABASE place OWNER TO builder", "ALTER DATABASE place SET log_statement = 'ddl'")
    told = verbs.restore(replace(place, user="builder"), mode="swap", safety="skip", roles="mine").findings
    (found,) = [one for one in told if one.code == "setting-not-carried"]
    assert found.object.endswith('SET "log_statement"')
    assert "ddl" not in str(found)
