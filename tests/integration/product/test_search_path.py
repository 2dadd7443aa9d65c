"""Rows whose generated columns need a search path are restored, where that is accepted, and it is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.load_path import load_path
from coffre.databases.postgresql.server import EphemeralServer
from coffre.errors import CoffreError, RestoreExceptionsError
from tests.support.postgres import create, customer_server, databases, dumped, sql, target
from tests.support.restoring import WAYS, restored
from tests.support.vault import Verbs

CONTENT = """
CREATE SCHEMA helpers; CREATE SCHEMA app;
CREATE FUNCTION helpers.inner_one(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT upper($1)';
CREATE FUNCTION app.outer_one(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
    'BEGIN RETURN inner_one($1); END';
SET search_path = app, helpers;
CREATE TABLE app.made (a text, g text GENERATED ALWAYS AS (app.outer_one(a)) STORED);
CREATE TABLE app.cut (a text) PARTITION BY LIST (app.outer_one(a));
CREATE TABLE app.cut_x PARTITION OF app.cut FOR VALUES IN ('X');
INSERT INTO app.made SELECT 'x' || n FROM generate_series(1, 50) n;
INSERT INTO app.cut VALUES ('x'); CREATE TABLE plain AS SELECT 1 AS one;
"""
NEVER = "ALTER FUNCTION helpers.inner_one(text) RENAME TO gone"


@pytest.fixture(scope="module")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    with customer_server(postgres_root, 16, scratch_root) as made:
        yield made


@pytest.mark.parametrize("machine", WAYS)
def test_they_are_an_exception_that_a_proof_names_and_a_restore_accepts(
    server: EphemeralServer, served: Verbs, catalogue: Catalogue, postgres_root: Path, machine: bool
) -> None:
    made = create(server, f"path{machine}", CONTENT)
    sql(made, f'ALTER DATABASE "path{machine}" SET search_path = "$user", helpers')
    served.backup(made)
    found = served.verify()
    named = [(one.object, one.code) for one in found.reasons[1:]]
    assert (found.verdict, found.reasons[0].code) == ("failed", "restores-with-exceptions")
    assert sorted(named) == [("app.cut_x", "exception-search-path"), ("app.made", "exception-search-path")]

    to = target(server, f"again{machine}")
    with pytest.raises(RestoreExceptionsError, match='load only with the search path "app", "helpers"'):
        restored(served, catalogue, target(server, f"refused{machine}"), machine=machine)
    told = restored(served, catalogue, to, machine=machine, exceptions="accept")
    assert sorted(one["object"] for one in told if one["code"] == "exception-search-path") == [
        "app.cut_x",
        "app.made",
    ]
    assert dumped(postgres_root, to) == dumped(postgres_root, made)


@pytest.mark.parametrize("machine", WAYS)
def test_what_no_path_loads_ends_the_restore_with_the_servers_words(
    server: EphemeralServer, served: Verbs, catalogue: Catalogue, machine: bool
) -> None:
    made = create(server, f"never{machine}", CONTENT, NEVER)
    served.backup(made)
    before = databases(server)
    with pytest.raises(CoffreError, match=r"the rows of app\.\w+ can't be loaded: .*inner_one"):
        restored(served, catalogue, target(server, "nowhere"), machine=machine, exceptions="accept")
    assert "nowhere" not in databases(server) - before


def test_a_path_has_each_schema_once_and_nobodys_own() -> None:
    assert load_path('od"d', '"$user", b, "c, d", public') == '"od""d", "b", "c, d", "public"'
    assert load_path("public", "") == '"public"'
