"""Roles that bear the names of the source's, and may do less at the target, or more, are told before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import TargetLacksError
from coffre.events.restore import RestoreRequest
from coffre.restore import run
from coffre.results import RestorePlan
from tests.fakes.store import MemoryStore
from tests.support.postgres import create, customer_server, databases, sql, target
from tests.support.vault import DATABASE, SECONDS, Verbs

CONTENT = """
CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION f(); ALTER EVENT TRIGGER watch OWNER TO admin;
CREATE FUNCTION who() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text';
ALTER FUNCTION who() OWNER TO clerk; CREATE TABLE kept (); ALTER TABLE kept OWNER TO same;
"""


@pytest.fixture(scope="module")
def servers(postgres_root: Path, scratch_root: Path) -> Iterator[list[EphemeralServer]]:
    with (
        customer_server(postgres_root, 16, scratch_root) as source,
        customer_server(postgres_root, 16, scratch_root) as other,
    ):
        roles = "CREATE ROLE admin SUPERUSER; CREATE ROLE clerk; CREATE ROLE same CREATEROLE"
        sql(target(source, "postgres"), roles)
        sql(
            target(other, "postgres"),
            "CREATE ROLE admin; CREATE ROLE clerk SUPERUSER REPLICATION; CREATE ROLE same CREATEROLE",
            "CREATE ROLE chief SUPERUSER; CREATE ROLE plain",
        )
        yield [source, other]


@pytest.fixture
def verbs(servers: list[EphemeralServer], postgres_root: Path, scratch_root: Path) -> Verbs:
    made = Verbs(MemoryStore(), postgres_root, scratch_root)
    name = f"source{len(databases(servers[0]))}"
    made.backup(create(servers[0], name, CONTENT))
    return made


def planned(verbs: Verbs, where: Target, role_map: dict[str, str]) -> RestorePlan:
    asked = RestoreRequest(action="plan", database=DATABASE, target_secret="none", role_map=role_map)
    return run.plan(asked, where, verbs.restore_services(), seconds=SECONDS)


@pytest.mark.parametrize("owner", ["admin", "plain"])
def test_who_may_not_own_an_event_trigger_is_named_before_anything_is_made(
    servers: list[EphemeralServer], verbs: Verbs, owner: str
) -> None:
    before = databases(servers[1])
    role_map = {"admin": owner} if owner != "admin" else {}
    with pytest.raises(TargetLacksError, match=f"SUPERUSER for the role {owner}, to own event trigger watch"):
        verbs.restore(target(servers[1], "out"), role_map=role_map)
    assert databases(servers[1]) == before


def test_a_namesake_with_more_rights_is_told_unless_it_was_chosen(
    servers: list[EphemeralServer], verbs: Verbs
) -> None:
    where = target(servers[1], "out")
    found = planned(verbs, where, {"admin": "chief"}).findings
    assert [one.message for one in found if one.code == "role-stronger"] == [
        "the role clerk has REPLICATION, SUPERUSER here, and hadn't at the source"
    ]
    found = planned(verbs, where, {"admin": "chief", "clerk": "chief"}).findings
    assert [one for one in found if one.code == "role-stronger"] == []
