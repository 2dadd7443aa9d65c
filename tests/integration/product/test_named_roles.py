"""A restore makes the roles that the backup's schema names, whatever the source's server knew of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from tests.support.postgres import create, customer_server, databases, dumped, sql, target
from tests.support.restoring import WAYS, restored
from tests.support.vault import Verbs

OF_THE_FIRST = """
CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw;
ALTER SERVER s OWNER TO postgres; CREATE USER MAPPING FOR postgres SERVER s;
CREATE TYPE t AS ENUM ('a'); ALTER TYPE t OWNER TO postgres;
CREATE DOMAIN d AS int; ALTER DOMAIN d OWNER TO postgres;
CREATE COLLATION c FROM "C"; ALTER COLLATION c OWNER TO postgres;
CREATE TEXT SEARCH CONFIGURATION w (COPY = simple); ALTER TEXT SEARCH CONFIGURATION w OWNER TO postgres;
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
ALTER OPERATOR === (int, int) OWNER TO postgres;
CREATE TABLE kept (a int, b int); CREATE STATISTICS st ON a, b FROM kept;
ALTER STATISTICS st OWNER TO postgres;
CREATE PUBLICATION p FOR ALL TABLES; ALTER PUBLICATION p OWNER TO postgres;
CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f(); ALTER EVENT TRIGGER e OWNER TO postgres;
SELECT lo_create(9009); ALTER LARGE OBJECT 9009 OWNER TO postgres;
ALTER SCHEMA public OWNER TO postgres;
CREATE SUBSCRIPTION su CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false);
ALTER SUBSCRIPTION su OWNER TO follower;
"""
RIGHTS = {
    "grant": "CREATE TABLE kept (a int); GRANT SELECT ON kept TO postgres",
    "policy": "CREATE TABLE kept (a int); CREATE POLICY p ON kept TO postgres USING (true)",
    "by": "CREATE TABLE kept (); ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES TO app",
    "to": "CREATE TABLE kept (); ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT SELECT ON TABLES TO postgres",
    "object": "CREATE TABLE kept (a int); SELECT lo_create(9); GRANT SELECT ON LARGE OBJECT 9 TO postgres",
}


@pytest.fixture(scope="module")
def source(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """Its first superuser, whose possessions no list of dependencies has, is called postgres."""
    with customer_server(postgres_root, 16, scratch_root) as server:
        sql(target(server, "postgres"), "CREATE ROLE follower SUPERUSER; CREATE ROLE app")
        yield server


@pytest.fixture(scope="module")
def other(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """Its first superuser has another name."""
    with customer_server(postgres_root, 16, scratch_root) as server:
        there = target(server, "postgres")
        sql(there, "ALTER ROLE postgres RENAME TO first", "CREATE ROLE builder LOGIN CREATEDB CREATEROLE")
        yield server


@pytest.fixture
def to(other: EphemeralServer) -> Iterator[Target]:
    """A database to restore into; afterwards the server has neither it nor roles from the source."""
    where = target(other, "out")
    yield where
    there = target(other, "postgres")
    if "out" in databases(other) and sql(where, "SELECT FROM pg_subscription"):
        sql(where, "ALTER SUBSCRIPTION su SET (slot_name = NONE)", "DROP SUBSCRIPTION su")
    sql(there, "DROP DATABASE IF EXISTS out", "DROP ROLE IF EXISTS postgres, follower, app, installer")


def owners(postgres_root: Path, where: Target) -> list[str]:
    return [line for line in dumped(postgres_root, where) if " OWNER TO " in line]


@pytest.mark.parametrize("machine", WAYS)
def test_what_belongs_to_the_first_superuser_and_owners_of_subscriptions_come_back(
    verbs: Verbs,
    catalogue: Catalogue,
    source: EphemeralServer,
    to: Target,
    postgres_root: Path,
    machine: bool,
) -> None:
    made = create(source, f"owned{machine}", OF_THE_FIRST)
    verbs.backup(made)
    told = restored(verbs, catalogue, to, machine=machine)
    assert owners(postgres_root, to) == owners(postgres_root, made)
    created = [one["object"] for one in told if one["code"] == "role-created"]
    assert created == ["follower", "postgres"]


@pytest.mark.parametrize("rights", RIGHTS)
def test_what_is_granted_to_the_first_superuser_comes_back(
    verbs: Verbs, catalogue: Catalogue, source: EphemeralServer, to: Target, postgres_root: Path, rights: str
) -> None:
    made = create(source, f"granted_{rights}", RIGHTS[rights])
    verbs.backup(made)
    restored(verbs, catalogue, to, machine=False)
    assert dumped(postgres_root, to) == dumped(postgres_root, made)


def test_who_owns_nothing_but_an_extension_is_not_needed(
    verbs: Verbs, catalogue: Catalogue, source: EphemeralServer, to: Target
) -> None:
    there = target(source, "postgres")
    sql(there, "CREATE ROLE installer SUPERUSER LOGIN")
    made = create(source, "extended", "CREATE SCHEMA app AUTHORIZATION app; CREATE TABLE app.kept ()")
    sql(made, "ALTER TABLE app.kept OWNER TO app")
    sql(replace(made, user="installer"), "CREATE EXTENSION citext")
    verbs.backup(made)
    told = restored(verbs, catalogue, replace(to, user="builder"), machine=False)
    assert [one["object"] for one in told if one["code"] == "role-created"] == ["app"]
