"""Roles that a restore creates, and the database, are what they were; what they aren't is told.

On either way: in one function, and on the state machine, whose steps may die in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.roles import read_database, read_roles
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.events.restore import RestoreRequest
from coffre.restore import attempts, begin, belongings, finish, run
from coffre.restore import roles as role_module
from coffre.restore.attempts import attempt
from coffre.restore.roles import needed_roles
from coffre.vault.parts import Role
from coffre.vault.reader import list_backups
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.store import START, MemoryStore
from tests.fakes.tables import TABLE
from tests.integration.scale.steps import Hand, KilledError, dying
from tests.support.postgres import create, customer_server, databases, sql, target
from tests.support.vault import DATABASE, SECONDS, Verbs

MAJORS = (15, 18)
"""Of targets: from 16 on CREATEROLE reaches only roles that one administers."""

ROLES = """
CREATE ROLE readers; CREATE ROLE ops; CREATE ROLE boss SUPERUSER; CREATE ROLE away; CREATE ROLE gone;
CREATE ROLE clerk LOGIN;
CREATE ROLE shopper LOGIN CREATEDB CONNECTION LIMIT 7 VALID UNTIL '2031-01-01';
GRANT readers, ops, boss, away, pg_read_all_data, clerk TO shopper;
ALTER ROLE shopper SET search_path = app, "Odd One", public;
ALTER ROLE shopper SET log_statement = 'ddl';
"""
CONTENT = """
CREATE SCHEMA app AUTHORIZATION shopper;
CREATE TABLE app.orders AS SELECT n FROM generate_series(1, 9) n;
ALTER TABLE app.orders OWNER TO shopper;
GRANT USAGE ON SCHEMA app TO clerk;
"""
RIGHTS = """
ALTER DATABASE source OWNER TO shopper;
REVOKE CONNECT ON DATABASE source FROM PUBLIC;
GRANT CONNECT ON DATABASE source TO clerk WITH GRANT OPTION;
GRANT CONNECT ON DATABASE source TO gone;
ALTER ROLE shopper IN DATABASE source SET work_mem = '7MB';
"""
TARGET = """
CREATE ROLE readers; CREATE ROLE ops IN ROLE pg_monitor; CREATE ROLE boss SUPERUSER;
CREATE ROLE builder LOGIN CREATEDB CREATEROLE;
"""
LEFT_OUT = (
    "role shopper will not be a member of away (not there); "
    "boss, ops, pg_read_all_data (with more than rights on objects)"
)
RESTORED = ["=T/shopper", "clerk=c*/shopper", "shopper=CTc/shopper"]
"""The grants of the database, without those of a role that isn't there."""

PATH = 'search_path=app, "Odd One", public'


@dataclass
class Way:
    """Restores in one function or on the state machine, into a server, as a role."""

    verbs: Verbs
    catalogue: Catalogue
    server: EphemeralServer
    machine: bool
    user: str

    def to(self, name: str) -> Target:
        """A database there."""
        return replace(target(self.server, name), user=self.user)

    def hand(self, name: str) -> Hand:
        """A restore on the state machine."""
        made = Hand(self.verbs, self.catalogue, self.to(name))
        made.working_seconds = 60.0
        return made

    def restore(self, name: str, **more: Any) -> dict[str, set[str]]:
        """Restore, and what is told: messages by code."""
        if self.machine:
            hand = self.hand(name)
            hand.confirm(**more)
            return told(hand.go()["findings"])
        return told(self.verbs.restore(self.to(name), **more).answer()["findings"])


def told(findings: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Messages by code; each is told once."""
    messages = [one["message"] for one in findings]
    assert len(messages) == len(set(messages))
    return {
        code: {one["message"] for one in findings if one["code"] == code}
        for code in {one["code"] for one in findings}
    }


@pytest.fixture(scope="module")
def source(postgres_root: Path, scratch_root: Path) -> Iterator[Target]:
    with customer_server(postgres_root, min(MAJORS), scratch_root) as server:
        sql(target(server, "postgres"), ROLES)
        where = create(server, "source", CONTENT)
        sql(where, RIGHTS)
        yield where


@pytest.fixture(scope="module")
def servers(postgres_root: Path, scratch_root: Path) -> Iterator[dict[int, EphemeralServer]]:
    with (
        customer_server(postgres_root, MAJORS[0], scratch_root) as old,
        customer_server(postgres_root, MAJORS[1], scratch_root) as new,
    ):
        for server in (old, new):
            sql(target(server, "postgres"), TARGET)
        yield dict(zip(MAJORS, (old, new), strict=True))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(MemoryDynamo(), TABLE)


@pytest.fixture(scope="module")
def verbs(source: Target, catalogue: Catalogue, postgres_root: Path, scratch_root: Path) -> Verbs:
    made = Verbs(MemoryStore(), postgres_root, scratch_root, catalogue)
    made.backup(source)
    return made


@contextmanager
def changed(source: Target, verbs: Verbs, change: str, back: str) -> Iterator[None]:
    """The newest backup is of the source with a change, as long as the block runs."""
    number = len(list(list_backups(verbs.store, DATABASE)))
    sql(source, change)
    verbs.backup(source, time=START + timedelta(hours=number))
    sql(source, back)
    yield
    verbs.backup(source, time=START + timedelta(hours=number + 1))


@pytest.fixture
def way(
    verbs: Verbs, catalogue: Catalogue, servers: dict[int, EphemeralServer]
) -> Iterator[Callable[[bool, str, int], Way]]:
    """Makes ways; afterwards the servers are as they were."""
    before = {major: (databases(server), roles(server)) for major, server in servers.items()}
    yield lambda machine, user, major: Way(verbs, catalogue, servers[major], machine, user)
    for major, server in servers.items():
        there = target(server, "postgres")
        for name in databases(server) - before[major][0]:
            sql(there, f'DROP DATABASE "{name}"')
        for name in roles(server) - before[major][1]:
            sql(there, f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')
        sql(there, "REVOKE readers FROM builder")


def roles(server: EphemeralServer) -> set[str]:
    return {row[0] for row in sql(target(server, "postgres"), "SELECT rolname FROM pg_roles")}


def groups(server: EphemeralServer, name: str) -> list[str]:
    asked = f"SELECT roleid::regrole::text FROM pg_auth_members WHERE member = '{name}'::regrole ORDER BY 1"
    return [row[0] for row in sql(target(server, "postgres"), asked)]


def rights(server: EphemeralServer, name: str) -> tuple[str, list[str]]:
    """A database's owner, and grants as the catalog has them."""
    asked = f"SELECT datdba::regrole::text, datacl::text[] FROM pg_database WHERE datname = '{name}'"
    owner, grants = sql(target(server, "postgres"), asked)[0]
    return owner, sorted(grants or [])


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("machine", [False, True])
def test_a_superuser_gives_created_roles_and_the_database_what_they_had(
    way: Callable[..., Way], source: Target, machine: bool, major: int
) -> None:
    to = way(machine, "customer", major)
    found = to.restore("out")
    made = target(to.server, "out")
    with open_session(source, seconds=60) as there, open_session(made, seconds=60) as here:
        (before,), (after,) = (
            [role for role in read_roles(one) if role.name == "shopper"] for one in (there, here)
        )
        assert (after.attributes, after.settings) == (before.attributes, before.settings)
        assert "VALID UNTIL '2031-01-01 00:00:00+00'" in after.attributes
        assert PATH in after.settings
        record = read_database(here)
        assert record.settings == read_database(there).settings == (("shopper", "work_mem=7MB"),)
    assert groups(to.server, "shopper") == ["clerk", "readers"]
    assert rights(to.server, "out") == ("shopper", RESTORED)
    assert found["role-created"] == {
        "role clerk will be created without a password",
        "role shopper will be created without a password and with CREATEDB, as a member of clerk, readers",
    }
    assert found["membership-left-out"] == {LEFT_OUT}
    assert found["grants-left-out"] == {
        "nothing on the database will be granted to gone: there is no such role"
    }
    assert found.keys() <= {"role-created", "membership-left-out", "grants-left-out", "superuser-target"}


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("machine", [False, True])
def test_another_role_gives_what_it_may_and_tells_the_rest(
    way: Callable[..., Way], machine: bool, major: int
) -> None:
    to = way(machine, "builder", major)
    administers = major < 16 or machine
    if major >= 16 and administers:
        sql(target(to.server, "postgres"), "GRANT readers TO builder WITH ADMIN OPTION")
    found = to.restore("out")
    assert groups(to.server, "shopper") == ["clerk", *(["readers"] if administers else [])]
    assert rights(to.server, "out") == ("shopper", RESTORED)
    with open_session(target(to.server, "out"), seconds=60) as here:
        (shopper,) = [role for role in read_roles(here) if role.name == "shopper"]
        assert shopper.settings == (PATH,)
        assert {"NOCREATEDB", "CONNECTION LIMIT 7", "VALID UNTIL '2031-01-01 00:00:00+00'"} <= set(
            shopper.attributes
        )
        assert read_database(here).settings == (("shopper", "work_mem=7MB"),)
    (created,) = [one for one in found["role-created"] if "shopper" in one]
    assert "without a password and without CREATEDB" in created
    (left_out,) = found["membership-left-out"]
    assert ("readers (not administered by builder)" in left_out) is not administers
    (unset,) = found["setting-not-restored"]
    assert 'set parameter "log_statement"' in unset


def test_the_plan_tells_it_before(way: Callable[..., Way], verbs: Verbs) -> None:
    where = way(False, "builder", 15).to("planned")
    asked = RestoreRequest(action="plan", database=DATABASE, target_secret="none")
    plan = run.plan(asked, where, verbs.restore_services(), seconds=SECONDS)
    assert {(one.code, one.object) for one in plan.findings if one.code != "disk-unknown"} == {
        ("role-created", "clerk"),
        ("role-created", "shopper"),
        ("membership-left-out", "shopper"),
        ("grants-left-out", "database"),
    }


@pytest.mark.parametrize("machine", [False, True])
def test_a_swap_keeps_the_rights_of_the_place_and_created_roles_have_their_settings(
    way: Callable[..., Way], machine: bool
) -> None:
    to = way(machine, "customer", 18)
    create(to.server, "place", "REVOKE TEMPORARY ON DATABASE place FROM PUBLIC")
    sql(target(to.server, "place"), "ALTER DATABASE place SET work_mem = '9MB'")
    before = rights(to.server, "place")
    found = to.restore("place", mode="swap", safety="skip")
    assert rights(to.server, "place") == before
    with open_session(target(to.server, "place"), seconds=60) as here:
        assert read_database(here).settings == (("", "work_mem=9MB"), ("shopper", "work_mem=7MB"))
    if machine:
        return  # whoever confirmed it saw it in the plan
    assert found["grants-left-out"] == {
        "rights on the database are those of the one in place, none of which is granted to clerk, shopper"
    }


@pytest.mark.parametrize("machine", [False, True])
def test_no_role_is_left_without_what_it_gets(
    way: Callable[..., Way], monkeypatch: pytest.MonkeyPatch, machine: bool
) -> None:
    """A later restore would find it, and leave it as it is."""
    to = way(machine, "customer", 18)
    before = roles(to.server)
    monkeypatch.setattr(role_module, "attempt", dying(2, attempt, [0]))
    with pytest.raises(KilledError):
        to.restore("half")
    assert roles(to.server) == before


@pytest.mark.parametrize("user", ["customer", "builder"])
@pytest.mark.parametrize("machine", [False, True])
def test_roles_that_take_several_transactions_get_and_tell_the_same(
    way: Callable[..., Way], monkeypatch: pytest.MonkeyPatch, machine: bool, user: str
) -> None:
    monkeypatch.setattr(attempts, "BATCH", 1)
    to = way(machine, user, 18)
    found = to.restore("several")
    assert len(found["role-created"]) == len({"shopper", "clerk"})
    administered = ["readers"] if user == "customer" else []
    assert groups(to.server, "shopper") == ["clerk", *administered]
    assert rights(to.server, "several") == ("shopper", RESTORED)


def test_what_was_told_before_a_death_between_them_isnt_lost(
    way: Callable[..., Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "BATCH", 1)
    to = way(True, "customer", 18)
    hand = to.hand("between")
    hand.confirm()
    with monkeypatch.context() as patch:
        patch.setattr(role_module, "_create", dying(2, role_module._create, [0]))
        with pytest.raises(KilledError) as died:
            hand.go()
    assert {"shopper", "clerk"} & set(roles(to.server)) == {"clerk"}, "groups come first"
    hand.fail(died.value)
    hand.resume()
    assert len(told(hand.go()["findings"])["role-created"]) == len({"shopper", "clerk"})
    assert groups(to.server, "shopper") == ["clerk", "readers"]


@pytest.mark.parametrize("user", ["customer", "builder"])
@pytest.mark.parametrize(
    ("module", "call"), [(begin, "SchemaArchive"), (begin, "make"), (finish, "exchange_names")]
)
def test_a_machine_that_dies_once_the_roles_are_there_tells_of_them_all_the_same(
    way: Callable[..., Way], monkeypatch: pytest.MonkeyPatch, user: str, module: ModuleType, call: str
) -> None:
    to = way(True, user, 15)
    hand = to.hand("died")
    hand.confirm()
    with monkeypatch.context() as patch:
        patch.setattr(module, call, dying(1, getattr(module, call), [0]))
        with pytest.raises(KilledError) as died:
            hand.go()
    assert "shopper" in roles(to.server)
    assert "died" not in databases(to.server)
    hand.fail(died.value)
    hand.resume()
    found = told(hand.go()["findings"])
    assert found["membership-left-out"] == {LEFT_OUT}
    assert ("setting-not-restored" in found) is (user == "builder")
    assert groups(to.server, "shopper") == ["clerk", "readers"]
    assert rights(to.server, "died") == ("shopper", RESTORED)


def test_checks_that_come_twice_change_nothing_the_second_time(way: Callable[..., Way]) -> None:
    to = way(True, "builder", 18)
    hand = to.hand("twice")
    hand.confirm()
    step, reports = hand.step, []

    def doubled(name: str, **more: Any) -> dict[str, Any]:
        answer = step(name, **more)
        if name == "check":
            reports.extend([answer["report"], step(name, **more)["report"]])
        return answer

    hand.step = doubled  # type: ignore[method-assign]
    hand.go()
    assert reports[0] == reports[1]
    assert rights(to.server, "twice") == ("shopper", RESTORED)


@pytest.mark.parametrize("machine", [False, True])
def test_rights_that_would_keep_the_restore_from_its_end_are_not_given(
    way: Callable[..., Way], source: Target, machine: bool
) -> None:
    to, on = way(machine, "builder", 18), "CONNECT ON DATABASE source"
    back = f"GRANT {on} TO shopper; GRANT {on} TO clerk WITH GRANT OPTION"
    with changed(source, to.verbs, f"REVOKE {on} FROM shopper, clerk", back):
        found = to.restore("shut")
    assert rights(to.server, "shut") == ("builder", [])
    (message,) = found["owner-left-out"]
    assert message.startswith("owner and grants would keep builder from finishing")


def test_more_grants_than_one_transaction_bears_are_told(
    way: Callable[..., Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(belongings, "MOST_GRANTEES", 1)
    to = way(False, "customer", 18)
    (message,) = to.restore("crowded")["grants-left-out"]
    assert message == "the grants on the database to 3 roles are left out: they are too many"
    assert rights(to.server, "crowded") == ("shopper", [])


def test_a_database_that_is_there_gets_them_from_whom_it_belongs_to(way: Callable[..., Way]) -> None:
    to = way(False, "customer", 18)
    create(to.server, "there")
    to.restore("there")
    assert rights(to.server, "there")[0] == "shopper"
    sql(target(to.server, "postgres"), "DROP DATABASE there")
    create(to.server, "there", "GRANT CREATE ON DATABASE there TO builder", "GRANT clerk, shopper TO builder")
    before = rights(to.server, "there")
    found = replace(to, user="builder").restore("there")
    assert rights(to.server, "there") == before
    assert found["owner-left-out"] == {
        "owner and grants of the database stay as they are: it doesn't belong to builder"
    }


def test_mapped_roles_own_the_database_and_are_the_groups_of_created_ones(way: Callable[..., Way]) -> None:
    to = way(False, "customer", 18)
    sql(target(to.server, "postgres"), 'CREATE ROLE "New Clerk"; CREATE ROLE guest')
    to.restore("mapped", role_map={"clerk": "New Clerk", "gone": "guest"})
    assert groups(to.server, "shopper") == ['"New Clerk"', "readers"]
    assert rights(to.server, "mapped")[1] == [
        '"New Clerk"=c*/shopper',
        "=T/shopper",
        "guest=c/shopper",
        "shopper=CTc/shopper",
    ]


def test_with_roles_mine_neither_owner_nor_grants_come(way: Callable[..., Way]) -> None:
    to = way(False, "builder", 18)
    found = to.restore("mine", roles="mine")
    assert rights(to.server, "mine") == ("builder", [])
    assert "shopper" not in roles(to.server)
    assert "the database's own as well" in found["roles-mine"].pop()


def test_a_database_that_nobody_may_use_is_not_opened(way: Callable[..., Way], source: Target) -> None:
    server = way(False, "customer", 18).server
    made = create(server, "closed", "REVOKE ALL ON DATABASE closed FROM PUBLIC, customer")
    with open_session(made, seconds=60) as session:
        assert read_database(session).grants == ("=/customer",)


def test_an_older_backup_says_nothing_of_expiry_and_that_is_told(servers: dict[int, EphemeralServer]) -> None:
    used = [Role("old", ("LOGIN",), used=True), Role("none", ("NOLOGIN",), used=True)]
    with open_session(target(servers[18], "postgres"), seconds=60) as session:
        found = needed_roles(session, used, {}, encoding="UTF8", superuser=True).findings
    assert [one.message for one in found if one.code == "expiry-unknown"] == [
        "the backup doesn't say until when passwords are valid, of old"
    ]


def test_no_role_makes_itself_a_superuser_by_a_setting(way: Callable[..., Way], source: Target) -> None:
    """An unquoted search path may be any text without spaces, and each role may set its own."""
    path = "public;ALTER/**/ROLE/**/clerk/**/SUPERUSER"
    set_path = f"SELECT set_config('search_path', '{path}', false);" + "".join(
        f"ALTER ROLE clerk {where} SET search_path FROM CURRENT;" for where in ("", "IN DATABASE source")
    )
    back = "ALTER ROLE clerk RESET ALL; ALTER ROLE clerk IN DATABASE source RESET ALL"
    to, asked = way(False, "customer", 18), "SELECT rolsuper FROM pg_roles WHERE rolname = 'clerk'"
    there = target(to.server, "postgres")
    with changed(source, to.verbs, f"SET SESSION AUTHORIZATION clerk; {set_path}", back):
        to.restore("safe")
        assert sql(there, asked) == [[False]]
        assert len(sql(there, "SELECT FROM pg_db_role_setting WHERE setrole = 'clerk'::regrole")) == 2
        to.restore("safe", mode="swap", safety="skip")
    assert sql(there, asked) == [[False]]
