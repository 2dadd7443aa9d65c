"""Memberships come back as they were granted: who administers a group, inherits from it, may become it.

Never more than at the source: what can't be given as it was is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.roles import read_roles
from coffre.databases.postgresql.server import EphemeralServer
from coffre.errors import FormatUnsupportedError
from coffre.restore.roles import create_roles, needed_roles
from coffre.results import Finding
from coffre.vault import manifest as manifests
from coffre.vault.manifest import Manifest
from coffre.vault.parts import Role, decode_record, encode_record
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.tables import TABLE
from tests.integration.scale.steps import Hand
from tests.support.postgres import create, customer_server, databases, sql, target
from tests.support.vault import ServedStore, Verbs

OLD, NEW = 15, 18
"""From 16 on a membership has options of its own for what was the member's attribute."""

WAYS = [(OLD, OLD), (OLD, NEW), (NEW, NEW)]
"""From which major to which."""

OURS = {"customer", "postgres", "builder"}
"""Roles that no backup here is about: who restores, and superusers, which may everything."""

ROLES = """
CREATE ROLE crew; CREATE ROLE desk; CREATE ROLE lead; CREATE ROLE apart NOINHERIT; CREATE ROLE seer;
CREATE ROLE maker LOGIN CREATEROLE;
GRANT crew TO desk; GRANT crew TO lead WITH ADMIN OPTION; GRANT desk TO apart; GRANT desk TO seer;
GRANT pg_monitor TO seer WITH ADMIN OPTION;
SET ROLE maker; CREATE ROLE made; RESET ROLE;
"""
OPTIONS = """
CREATE ROLE narrow; CREATE ROLE twice; CREATE ROLE joined; CREATE ROLE lent NOINHERIT;
GRANT desk TO narrow WITH INHERIT FALSE, SET FALSE;
GRANT desk TO lent WITH INHERIT TRUE, SET FALSE;
GRANT crew TO twice WITH INHERIT FALSE, SET FALSE;
GRANT crew TO twice WITH INHERIT TRUE, SET FALSE GRANTED BY lead;
GRANT crew TO joined WITH INHERIT FALSE;
GRANT crew TO joined WITH INHERIT TRUE, SET FALSE GRANTED BY lead;
"""
CONTENT = """
ALTER DATABASE source OWNER TO desk;
CREATE SCHEMA app AUTHORIZATION desk;
CREATE TABLE app.notes AS SELECT 1 AS n;
ALTER TABLE app.notes OWNER TO desk;
DO $$ DECLARE one name; BEGIN
    FOR one IN SELECT rolname FROM pg_roles WHERE oid >= 16384 AND NOT rolsuper LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA app TO %I', one);
    END LOOP;
END $$;
"""
HELD = """
SELECT m.rolname, g.rolname, what FROM pg_roles m, pg_roles g, unnest(ARRAY[{rights}]) what
WHERE m.oid >= 16384 AND NOT m.rolsuper AND m.oid <> g.oid AND pg_has_role(m.oid, g.oid, what)
"""
ADMIN = "MEMBER WITH ADMIN OPTION"

Held = set[tuple[str, str, str]]


def held(server: EphemeralServer) -> Held:
    """What each role may do with each other: inherit from it, become it, administer it."""
    become = "SET" if server.major >= 16 else "MEMBER"
    asked = HELD.format(rights=f"'USAGE', '{become}', '{ADMIN}'")
    rows = sql(target(server, "postgres"), asked)
    return {(m, g, "SET" if what == "MEMBER" else what) for m, g, what in rows if m not in OURS}


def ordinary(of: Held) -> Held:
    """Without PostgreSQL's own roles, which no restore makes anybody a member of."""
    return {one for one in of if not one[1].startswith("pg_")}


@contextmanager
def unchanged(server: EphemeralServer) -> Iterator[None]:
    """What the block makes on a server is dropped again."""
    there = target(server, "postgres")
    asked = "SELECT quote_ident(rolname) FROM pg_roles"
    had, names = databases(server), {row[0] for row in sql(there, asked)}
    try:
        yield
    finally:
        for database in databases(server) - had:
            sql(there, f'DROP DATABASE "{database}"')
        if made := ", ".join({row[0] for row in sql(there, asked)} - names):
            sql(there, f"DROP OWNED BY {made} CASCADE; DROP ROLE {made}")


@pytest.fixture(scope="module")
def sources(postgres_root: Path, scratch_root: Path) -> Iterator[dict[int, EphemeralServer]]:
    with (
        customer_server(postgres_root, OLD, scratch_root) as old,
        customer_server(postgres_root, NEW, scratch_root) as new,
    ):
        for server in (old, new):
            sql(target(server, "postgres"), ROLES, OPTIONS if server is new else "")
            create(server, "source", CONTENT)
        yield {OLD: old, NEW: new}


@pytest.fixture(scope="module")
def servers(postgres_root: Path, scratch_root: Path) -> Iterator[dict[int, EphemeralServer]]:
    """Where to restore to, and the twins of sources whose roles a test makes up."""
    with (
        customer_server(postgres_root, OLD, scratch_root) as old,
        customer_server(postgres_root, NEW, scratch_root) as new,
    ):
        for server in (old, new):
            sql(target(server, "postgres"), "CREATE ROLE builder LOGIN CREATEDB CREATEROLE")
        yield {OLD: old, NEW: new}


@pytest.fixture(scope="module")
def twins(postgres_root: Path, scratch_root: Path) -> Iterator[dict[int, EphemeralServer]]:
    """Servers without roles, to make some up."""
    with (
        customer_server(postgres_root, OLD, scratch_root) as old,
        customer_server(postgres_root, NEW, scratch_root) as new,
    ):
        yield {OLD: old, NEW: new}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(MemoryDynamo(), TABLE)


@pytest.fixture(scope="module")
def backups(
    sources: dict[int, EphemeralServer], catalogue: Catalogue, postgres_root: Path, scratch_root: Path
) -> Iterator[dict[int, Verbs]]:
    """A vault with a backup of each source."""
    with ServedStore() as old, ServedStore() as new:
        made = {
            OLD: Verbs(old, postgres_root, scratch_root),
            NEW: Verbs(new, postgres_root, scratch_root, catalogue),
        }
        for major, verbs in made.items():
            verbs.backup(target(sources[major], "source"))
        yield made


def told(findings: list[Finding], code: str) -> set[str]:
    """The messages of a code."""
    return {one.message for one in findings if one.code == code}


@pytest.mark.parametrize("user", ["customer", "builder"])
@pytest.mark.parametrize(("major", "to"), WAYS)
def test_created_roles_may_do_with_their_groups_what_they_might(
    sources: dict[int, EphemeralServer],
    servers: dict[int, EphemeralServer],
    backups: dict[int, Verbs],
    major: int,
    to: int,
    user: str,
) -> None:
    before, server = held(sources[major]), servers[to]
    assert {("lead", "crew", ADMIN), ("seer", "pg_monitor", ADMIN), ("apart", "desk", "SET")} <= before
    assert ("apart", "desk", "USAGE") not in before
    with unchanged(server):
        result = backups[major].restore(replace(target(server, "restored"), user=user))
        assert held(server) == ordinary(before)
        sql(target(server, "postgres"), "CREATE ROLE newcomer; SET ROLE lead; GRANT crew TO newcomer")
    assert told(result.findings, "membership-left-out") == {
        "role seer will not be a member of pg_monitor with ADMIN OPTION (with more than rights on objects)"
    }
    assert not told(result.findings, "admin-left-out")


def test_narrower_memberships_stay_narrower(
    sources: dict[int, EphemeralServer],
    servers: dict[int, EphemeralServer],
    backups: dict[int, Verbs],
    catalogue: Catalogue,
) -> None:
    """On the state machine, too, which makes roles in a step of its own."""
    server = servers[NEW]
    with unchanged(server):
        hand = Hand(backups[NEW], catalogue, target(server, "by_machine"))
        hand.working_seconds = 60.0
        hand.confirm()
        hand.go()
        after = held(server)
    assert after == ordinary(held(sources[NEW]))
    assert {("lent", "desk", "USAGE"), ("twice", "crew", "USAGE"), ("maker", "made", ADMIN)} <= after
    assert not {("lent", "desk", "SET"), ("twice", "crew", "SET"), ("maker", "made", "SET")} & after
    assert not {one for one in after if one[0] == "narrow"}


def test_the_plan_says_how_roles_are_members(
    servers: dict[int, EphemeralServer], backups: dict[int, Verbs]
) -> None:
    with unchanged(servers[NEW]):
        created = told(backups[NEW].restore(target(servers[NEW], "planned")).findings, "role-created")
    without = "will be created without a password, as a member of"
    assert {
        f"role lead {without} crew with ADMIN OPTION",
        f"role narrow {without} desk with INHERIT FALSE and SET FALSE",
        f"role lent {without} desk with INHERIT TRUE and SET FALSE",
        f"role twice {without} crew with SET FALSE",
        f"role joined {without} crew",
        f"role apart {without} desk",
    } <= created


@pytest.mark.parametrize("user", ["customer", "builder"])
@pytest.mark.parametrize(("major", "to"), WAYS)
def test_nobody_comes_to_administer_a_group_that_was_there_before(
    servers: dict[int, EphemeralServer], backups: dict[int, Verbs], major: int, to: int, user: str
) -> None:
    server = servers[to]
    with unchanged(server):
        sql(target(server, "postgres"), "CREATE ROLE crew; GRANT crew TO builder WITH ADMIN OPTION")
        result = backups[major].restore(replace(target(server, "restored"), user=user))
        after = held(server)
    assert {("lead", "crew", "USAGE"), ("lead", "crew", "SET")} <= after
    assert not {one for one in after if one[1:] == ("crew", ADMIN)}
    assert told(result.findings, "admin-left-out") == {
        "role lead will not grant to others what was there before: crew"
    }


def test_a_membership_that_was_there_before_stays_as_it_is(
    servers: dict[int, EphemeralServer], backups: dict[int, Verbs]
) -> None:
    server = servers[NEW]
    with unchanged(server):
        there = "CREATE ROLE crew; CREATE ROLE lead; GRANT crew TO lead WITH SET FALSE"
        sql(target(server, "postgres"), there)
        backups[NEW].restore(target(server, "restored"))
        assert {one for one in held(server) if one[0] == "lead"} == {("lead", "crew", "USAGE")}


def test_who_may_not_grant_a_group_is_told_how_it_was_granted(servers: dict[int, EphemeralServer]) -> None:
    there = target(servers[NEW], "postgres")
    used = [Role("lead", ("LOGIN",), ("crew",), used=True, options=(("crew", "ADMIN OPTION"),))]
    with unchanged(servers[NEW]):
        sql(there, "CREATE ROLE crew")
        with open_session(replace(there, user="builder"), seconds=60) as session:
            needed = needed_roles(session, used, {}, encoding="UTF8", superuser=False)
    assert [role.member_of for role in needed.create] == [()]
    assert told(list(needed.findings), "membership-left-out") == {
        "role lead will not be a member of crew with ADMIN OPTION (not administered by builder)"
    }


@pytest.mark.parametrize("major", [OLD, NEW])
def test_the_script_of_the_roles_says_it_too(
    sources: dict[int, EphemeralServer],
    servers: dict[int, EphemeralServer],
    backups: dict[int, Verbs],
    major: int,
) -> None:
    verbs, server = backups[major], servers[major]
    file = verbs.manifest().file("globals")
    assert file is not None
    script = verbs.store.get(file.key).read().decode()
    ours = [line for line in script.splitlines() if not any(f' "{name}" WITH' in line for name in OURS)]
    with unchanged(server):
        sql(target(server, "postgres"), "\n".join(ours))
        assert held(server) == held(sources[major])


@pytest.mark.parametrize("major", [OLD, NEW])
def test_a_proof_has_and_compares_them(
    sources: dict[int, EphemeralServer], backups: dict[int, Verbs], major: int
) -> None:
    proof = backups[major].verify()
    assert (proof.reasons, proof.verdict) == ([], "proven")


def test_an_upgrade_is_rehearsed_with_them(backups: dict[int, Verbs]) -> None:
    assert backups[OLD].verify(upgrade_to=NEW).verdict == "proven"


@pytest.mark.parametrize("major", [OLD, NEW])
def test_a_reader_that_does_not_know_options_refuses(
    backups: dict[int, Verbs], major: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = manifests.CAPABILITIES - {"membership-options"}
    monkeypatch.setattr(manifests, "CAPABILITIES", known)
    with pytest.raises(FormatUnsupportedError, match="membership-options"):
        backups[major].manifest()


@pytest.mark.parametrize("major", [OLD, NEW])
def test_memberships_as_by_default_require_nothing(
    twins: dict[int, EphemeralServer], postgres_root: Path, scratch_root: Path, major: int
) -> None:
    server = twins[major]
    with unchanged(server), ServedStore() as store:
        plain = "CREATE ROLE a; CREATE ROLE b NOINHERIT; GRANT a TO b; CREATE TABLE t AS SELECT 1 AS n"
        verbs = Verbs(store, postgres_root, scratch_root)
        verbs.backup(create(server, "plain", plain))
        manifest: Manifest = verbs.manifest()
    assert "membership-options" not in manifest.requires


@pytest.mark.parametrize("to", [OLD, NEW])
def test_an_older_backup_says_nothing_of_options_and_that_is_told(
    servers: dict[int, EphemeralServer], to: int
) -> None:
    older = [
        Role("crew", ("NOLOGIN", "INHERIT"), used=True),
        Role("lead", ("NOLOGIN", "INHERIT"), ("crew", "crew"), used=True),
        Role("apart", ("NOLOGIN", "NOINHERIT"), ("crew",), used=True),
    ]
    with unchanged(servers[to]):
        with open_session(target(servers[to], "postgres"), seconds=60) as session:
            needed = needed_roles(session, older, {}, encoding="UTF8", superuser=True)
            create_roles(session, needed)
        assert held(servers[to]) == {
            ("lead", "crew", "USAGE"),
            ("lead", "crew", "SET"),
            ("apart", "crew", "SET"),
        }
    assert told(list(needed.findings), "membership-options-unknown") == {
        "the backup doesn't say with which options roles are members of others, of lead, apart"
    }


NAMES = [f"role_{number}" for number in range(6)]
FLAGS = st.tuples(st.booleans(), st.booleans(), st.booleans())


@settings(max_examples=25)
@given(
    way=st.sampled_from(WAYS),
    user=st.sampled_from(["customer", "builder"]),
    inherits=st.lists(st.booleans(), min_size=len(NAMES), max_size=len(NAMES)),
    granted=st.dictionaries(st.sampled_from(list(combinations(NAMES, 2))), FLAGS),
    again=st.dictionaries(st.sampled_from(list(combinations(NAMES, 2))), FLAGS),
    there=st.sets(st.sampled_from(NAMES), max_size=2),
)
def test_nothing_is_granted_that_is_not_at_the_source(
    twins: dict[int, EphemeralServer],
    servers: dict[int, EphemeralServer],
    way: tuple[int, int],
    user: str,
    inherits: list[bool],
    granted: dict[tuple[str, str], tuple[bool, bool, bool]],
    again: dict[tuple[str, str], tuple[bool, bool, bool]],
    there: set[str],
) -> None:
    source, server = twins[way[0]], servers[way[1]]
    with unchanged(source), unchanged(server):
        attributes = ("INHERIT" if own else "NOINHERIT" for own in inherits)
        made = [f"CREATE ROLE {name} {own}" for name, own in zip(NAMES, attributes, strict=True)]
        sql(target(source, "postgres"), *made, "CREATE ROLE grantor")
        for group in NAMES:
            sql(target(source, "postgres"), f"GRANT {group} TO grantor WITH ADMIN OPTION")
        for by, grants in (("", granted), (" GRANTED BY grantor", again)):
            for (group, member), flags in grants.items():
                sql(target(source, "postgres"), _grant(group, member, flags, source.major) + by)
        with open_session(target(source, "postgres"), seconds=60) as session:
            found = [role for role in read_roles(session) if role.name not in OURS]
        recorded = [decode_record(encode_record(replace(role, used=True))) for role in found]
        sql(target(server, "postgres"), *(f"CREATE ROLE {name}" for name in there))
        for name in there:
            sql(target(server, "postgres"), f"GRANT {name} TO builder WITH ADMIN OPTION")
        with open_session(replace(target(server, "postgres"), user=user), seconds=60) as session:
            roles = [role for role in recorded if isinstance(role, Role)]
            needed = needed_roles(session, roles, {}, encoding="UTF8", superuser=user == "customer")
            assert create_roles(session, needed) == []
        before, after = held(source), held(server)
    assert after <= before
    assert not {one for one in after if one[1] in there and one[2] == ADMIN}
    assert there or after == before


def _grant(group: str, member: str, flags: tuple[bool, bool, bool], major: int) -> str:
    admin, inherit, become = flags
    if major < 16:
        return f"GRANT {group} TO {member}" + (" WITH ADMIN OPTION" if admin else "")
    return f"GRANT {group} TO {member} WITH ADMIN {admin}, INHERIT {inherit}, SET {become}"
