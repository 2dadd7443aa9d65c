"""A role that is no superuser gives objects to owners who couldn't make them, and leaves nothing open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import TargetLacksError
from coffre.restore import begin, opening
from tests.integration.scale.steps import Hand, KilledError, dying
from tests.support.postgres import create, customer_server, databases, dumped, sql, target
from tests.support.restoring import WAYS, restored
from tests.support.vault import Verbs

MAJORS = (14, 15, 18)
ROLES = "CREATE ROLE app; CREATE ROLE dba; CREATE ROLE reader"

OWNED = """
CREATE SCHEMA theirs AUTHORIZATION dba;
GRANT ALL ON SCHEMA theirs TO app;
GRANT CREATE ON DATABASE source TO app;
SET ROLE app;
CREATE TYPE theirs.e AS ENUM ('a'); CREATE DOMAIN theirs.d AS int; CREATE SEQUENCE theirs.s;
CREATE TABLE theirs.t (a int PRIMARY KEY, b theirs.e); INSERT INTO theirs.t VALUES (1, 'a');
CREATE FUNCTION theirs.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE VIEW theirs.v AS SELECT 1 AS one; CREATE STATISTICS theirs.st ON a, b FROM theirs.t;
CREATE MATERIALIZED VIEW theirs.m AS SELECT a FROM theirs.t;
CREATE PUBLICATION p FOR TABLE theirs.t;
RESET ROLE;
REVOKE CREATE ON DATABASE source FROM app;
GRANT SELECT ON theirs.t TO dba WITH GRANT OPTION;
SET ROLE dba; GRANT SELECT ON theirs.t TO reader; RESET ROLE;
CREATE SCHEMA closed AUTHORIZATION dba;
CREATE TABLE closed.t (a int); ALTER TABLE closed.t OWNER TO app;
"""
IN_PUBLIC = """
GRANT CREATE ON SCHEMA public TO app;
SET ROLE app; CREATE TABLE public.t AS SELECT 1 AS a; RESET ROLE;
REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO reader;
COMMENT ON SCHEMA public IS 'of the app';
"""
BROUGHT = """
CREATE EXTENSION pgcrypto; CREATE SCHEMA own AUTHORIZATION app;
CREATE FUNCTION own.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION own.f() OWNER TO app;
REVOKE EXECUTE ON FUNCTION gen_salt(text), digest(text, text), own.f() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gen_salt(text) TO reader; GRANT SELECT ON pg_authid TO app;
"""
LEFT_OUT = "the schema public keeps its owner, rights and comment: it belongs to somebody else"


@pytest.fixture(scope="module", params=MAJORS)
def servers(
    request: pytest.FixtureRequest, postgres_root: Path, scratch_root: Path
) -> Iterator[tuple[EphemeralServer, EphemeralServer]]:
    """A source and a target of one version."""
    with (
        customer_server(postgres_root, request.param, scratch_root) as source,
        customer_server(postgres_root, request.param, scratch_root) as other,
    ):
        sql(target(source, "postgres"), ROLES)
        sql(target(other, "postgres"), "CREATE ROLE builder LOGIN CREATEDB CREATEROLE")
        yield source, other


@pytest.fixture
def source(servers: tuple[EphemeralServer, EphemeralServer]) -> Iterator[Target]:
    yield create(servers[0], "source")
    sql(target(servers[0], "postgres"), "DROP DATABASE source")


@pytest.fixture
def to(servers: tuple[EphemeralServer, EphemeralServer]) -> Iterator[Target]:
    """Where an ordinary role restores to; afterwards the server has neither it nor the source's roles."""
    server = servers[1]
    yield replace(target(server, "out"), user="builder")
    there = target(server, "postgres")
    for name in databases(server) - {"postgres", "template0", "template1"}:
        sql(there, f'DROP DATABASE "{name}"')
    sql(there, "DROP ROLE IF EXISTS app, dba, reader")


@pytest.fixture
def shown(postgres_root: Path) -> Callable[[Target], list[str]]:
    """A database as pg_dump shows it, but for what a superuser alone may give."""
    return lambda where: [line for line in dumped(postgres_root, where) if "SCHEMA public OWNER" not in line]


def may_create(where: Target) -> bool:
    """Whether an owner may create in the database itself."""
    asked = "SELECT has_database_privilege('app', 'out', 'CREATE')"
    return bool(sql(replace(where, user="customer"), asked)[0][0])


@pytest.mark.parametrize("machine", WAYS)
def test_owners_get_what_they_could_not_have_made(
    source: Target,
    to: Target,
    verbs: Verbs,
    catalogue: Catalogue,
    shown: Callable[[Target], list[str]],
    machine: bool,
) -> None:
    sql(source, OWNED)
    verbs.backup(source)
    restored(verbs, catalogue, to, machine=machine)
    assert shown(replace(to, user="customer")) == shown(source)
    assert not may_create(to)


@pytest.mark.parametrize("machine", WAYS)
def test_the_schema_public_comes_back_where_it_is_the_roles_own_and_else_is_told(
    source: Target,
    to: Target,
    verbs: Verbs,
    catalogue: Catalogue,
    shown: Callable[[Target], list[str]],
    machine: bool,
) -> None:
    sql(source, IN_PUBLIC)
    verbs.backup(source)
    told = restored(verbs, catalogue, to, machine=machine)
    messages = [one["message"] for one in told if one["code"] == "public-left-out"]
    here, there = shown(replace(to, user="customer")), shown(source)
    if sql(source, "SELECT current_setting('server_version_num')::int < 150000") == [[True]]:
        assert machine or messages == [LEFT_OUT]  # whoever confirmed it for the machine saw it in the plan
        about = " SCHEMA public "
        here, there = ([line for line in one if about not in line] for one in (here, there))
    else:
        assert messages == []
    assert here == there


@pytest.mark.parametrize("machine", WAYS)
def test_rights_on_what_an_extension_or_the_server_brings_are_told_to_stay_out(
    source: Target, to: Target, verbs: Verbs, catalogue: Catalogue, machine: bool
) -> None:
    sql(source, BROUGHT)
    verbs.backup(source)
    told = restored(verbs, catalogue, to, machine=machine)
    messages = [one["message"] for one in told if one["code"] == "rights-left-out"]
    assert machine or len(messages) == 1  # whoever confirmed it for the machine saw it in the plan
    assert all("FUNCTION digest(text, text), FUNCTION gen_salt(text)" in one for one in messages)
    may = "SELECT has_table_privilege('app', 'pg_authid', 'SELECT')"
    assert sql(replace(to, user="customer"), may) == [[False]]


@pytest.mark.parametrize("machine", WAYS)
def test_a_superuser_leaves_the_schema_public_as_shut_as_it_was(
    source: Target,
    to: Target,
    verbs: Verbs,
    catalogue: Catalogue,
    postgres_root: Path,
    machine: bool,
) -> None:
    sql(source, "REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE TABLE t ()")
    verbs.backup(source)
    to = replace(to, user="customer")
    restored(verbs, catalogue, to, machine=machine)
    assert sql(to, "SELECT has_schema_privilege('builder', 'public', 'CREATE')") == [[False]]
    assert dumped(postgres_root, to) == dumped(postgres_root, source)


@pytest.mark.parametrize("call", ["close_again", "open_to_owners"])
def test_a_machine_that_dies_leaves_nothing_open(
    source: Target,
    to: Target,
    verbs: Verbs,
    catalogue: Catalogue,
    shown: Callable[[Target], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    sql(source, OWNED)
    verbs.backup(source)
    hand = Hand(verbs, catalogue, to)
    hand.working_seconds = 60.0
    hand.confirm()
    module = opening if call == "close_again" else begin
    with monkeypatch.context() as patch:
        patch.setattr(module, call, dying(1, getattr(module, call), [0]))
        with pytest.raises(KilledError) as died:
            hand.go()
    hand.fail(died.value)
    hand.resume()
    hand.go()
    assert shown(replace(to, user="customer")) == shown(source)


def test_a_plan_says_that_no_ordinary_role_joins_a_superuser(
    source: Target, to: Target, verbs: Verbs
) -> None:
    sql(source, "CREATE TABLE t ()")  # by a superuser that is there as well
    verbs.backup(source)
    with pytest.raises(TargetLacksError, match="lacks: membership in customer"):
        verbs.restore(to)
