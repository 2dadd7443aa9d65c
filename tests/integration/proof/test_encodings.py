"""Databases of every encoding are backed up, proven and restored with their names, byte for byte (A24)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coffre.databases.postgresql.connection import identifier, open_session
from coffre.databases.postgresql.encodings import codec_of
from coffre.databases.postgresql.roles import read_database, read_roles
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.registration import Registration
from coffre.errors import QueryFailedError, TargetLacksError
from coffre.vault.contents import read_contents
from tests.support.encodings import (
    ENCODINGS,
    FOREIGN,
    create_in,
    create_named,
    foreign_server,
    named,
    names_in,
)
from tests.support.postgres import create, customer_server, sql, target
from tests.support.vault import ServedStore, Verbs

# Those whose characters are bytes, pairs or more, and that have holes, no characters, or no codec in Python.
HARD = ["EUC_JIS_2004", "EUC_TW", "ISO_8859_6", "KOI8R", "MULE_INTERNAL", "SQL_ASCII", "WIN866", "UTF8"]
UNPROVEN = Registration(secret="-", prove="never")


@pytest.fixture(scope="module")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """A server whose roles come from databases of all encodings, one of them from LATIN1."""
    with foreign_server(postgres_root, scratch_root) as started:
        yield started


@pytest.fixture(scope="module")
def other(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """A server that has none of those roles."""
    with customer_server(postgres_root, 16, scratch_root) as started:
        yield started


@pytest.fixture
def verbs(postgres_root: Path, scratch_root: Path) -> Iterator[Verbs]:
    with ServedStore() as store:
        yield Verbs(store, postgres_root, scratch_root)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_names_of_every_encoding_are_in_the_backup(
    verbs: Verbs, server: EphemeralServer, tmp_path: Path, encoding: str
) -> None:
    verbs.backup(create_named(server, encoding, f"read {encoding}"))
    contents = read_contents(verbs.store, verbs.manifest(), tmp_path / "sections")
    names, codec = names_in(encoding), codec_of(encoding)
    [relation] = [one for one in contents.relations.values() if one.is_table and one.columns]
    assert relation.schema.encode(codec) == relation.name.encode(codec) == names[0]
    assert [column.name.encode(codec) for column in relation.columns[:-1]] == names
    assert relation.owner.encode(codec) == names[0] + f" read {encoding}".encode()
    assert b"caf\xe9" in {role.name.encode(codec) for role in contents.roles}
    read = verbs.verify(registration=UNPROVEN)
    assert ([reason.code for reason in read.reasons], read.rows) == (["not-due"], 3)


@pytest.mark.parametrize("encoding", HARD)
def test_names_of_every_encoding_are_proven_and_restored(
    verbs: Verbs, server: EphemeralServer, other: EphemeralServer, encoding: str
) -> None:
    source = create_named(server, encoding, f"proven {encoding}")
    verbs.backup(source)
    proof = verbs.verify()
    assert (proof.verdict, proof.reasons) == ("proven", [])
    restored = target(other, f"restored {encoding}")
    result = verbs.restore(restored)
    assert [finding.object for finding in result.findings if finding.code == "role-created"]
    assert named(restored) == named(source)


def test_roles_of_another_encoding_are_kept_where_nothing_belongs_to_them(
    verbs: Verbs, server: EphemeralServer, other: EphemeralServer, tmp_path: Path
) -> None:
    backup = verbs.backup(create(server, "unused", "CREATE TABLE t AS SELECT 1 AS one"))
    assert not [one for one in backup.findings if one.code == "role-nameless"]
    contents = read_contents(verbs.store, verbs.manifest(), tmp_path / "sections")
    assert FOREIGN in {role.name for role in contents.roles}
    assert verbs.verify().verdict == "proven"
    assert verbs.restore(target(other, "unused")).digests_equal


def test_roles_that_no_statement_can_name_are_told_where_something_belongs_to_them(
    verbs: Verbs, server: EphemeralServer, other: EphemeralServer
) -> None:
    source = create(server, "used", "CREATE TABLE plain (id int)")
    with open_session(replace(source, user=FOREIGN), seconds=60) as session:
        session.run("CREATE TABLE public.theirs AS SELECT 1 AS one")
    told = [one for one in verbs.backup(source).findings if one.code == "role-nameless"]
    assert [(one.level, one.object) for one in told] == [("warn", r"caf\xe9")]
    proof = verbs.verify()
    [reason] = proof.reasons
    assert (proof.verdict, reason.code, reason.object) == ("inconclusive", "role-nameless", r"caf\xe9")
    with pytest.raises(TargetLacksError, match=r"aren't UTF8: caf\\xe9") as caught:
        verbs.restore(target(other, "used"))
    assert "--roles mine" in caught.value.hint
    assert verbs.restore(target(other, "used"), roles="mine").digests_equal


def test_what_belongs_to_a_database_of_another_encoding_comes_back(
    verbs: Verbs, server: EphemeralServer, other: EphemeralServer
) -> None:
    source = create_in(server, "LATIN1", "à moi")
    with open_session(source, seconds=60) as session:
        name = identifier(session.value("SELECT current_database()::text"))
        for statement in (
            "CREATE ROLE maître; CREATE ROLE invité; CREATE ROLE équipe; CREATE ROLE hôte",
            "CREATE ROLE absent",
            "GRANT équipe, absent TO invité; ALTER ROLE invité SET shop.greeting = 'réponse'",
            "CREATE TABLE public.t AS SELECT 1 AS one; GRANT SELECT ON public.t TO invité, maître",
            f"ALTER DATABASE {name} OWNER TO maître; GRANT CREATE ON DATABASE {name} TO invité",
            f"GRANT TEMPORARY ON DATABASE {name} TO hôte",
            f"ALTER ROLE invité IN DATABASE {name} SET shop.greeting = 'ça'",
            f"COMMENT ON DATABASE {name} IS 'à nous'",
        ):
            session.run(statement)
        expected = read_database(session)
        roles = [role for role in read_roles(session) if role.name in {"maître", "invité"}]
    verbs.backup(source)
    sql(create_in(other, "LATIN1", "theirs"), "CREATE ROLE équipe; CREATE ROLE hôte")
    result = verbs.restore(target(other, "à eux"))
    with open_session(target(other, "à eux"), seconds=60) as session:
        assert read_database(session) == expected
        assert [role for role in read_roles(session) if role.name in {"maître", "invité"}] == [
            replace(role, member_of=tuple(group for group in role.member_of if group == "équipe"))
            for role in roles
        ]
    told = {one.code: one.message for one in result.findings}
    assert told.keys() == {"role-created", "membership-left-out", "superuser-target"}
    assert told["membership-left-out"].endswith("will not be a member of absent (not there)")


def test_what_belongs_to_roles_without_a_name_here_stays_out_and_is_told(
    verbs: Verbs, server: EphemeralServer
) -> None:
    """They are on the target's server, too, where looking for groups must not stumble over them."""
    source = create(server, "nobodys", "CREATE ROLE clerk; CREATE ROLE readers; GRANT readers TO clerk")
    sql(source, "CREATE TABLE t AS SELECT 1 AS one; GRANT SELECT ON t TO clerk")
    sql(
        target(server, "latin"),
        "CREATE ROLE é; CREATE ROLE ça; GRANT é TO readers, clerk; GRANT CREATE ON DATABASE nobodys TO ça",
        "ALTER DATABASE nobodys OWNER TO é; ALTER ROLE é IN DATABASE nobodys SET work_mem = '7MB'",
    )
    verbs.backup(source)
    sql(source, "DROP OWNED BY clerk; DROP ROLE clerk")
    result = verbs.restore(target(server, "somebodys"))
    told = {one.code: one.message for one in result.findings if one.code != "superuser-target"}
    assert told == {
        "role-created": "role clerk will be created without a password, as a member of readers",
        "membership-left-out": r"role clerk will not be a member of \xe9 (no name in UTF8)",
        "owner-left-out": r"the database will not belong to \xe9: no name in UTF8",
        "grants-left-out": r"nothing on the database will be granted to \xe7a, \xe9: no name in UTF8",
        "setting-not-restored": told["setting-not-restored"],
    }
    assert "invalid byte sequence" in told["setting-not-restored"]


def test_roles_of_the_databases_encoding_take_each_others_places(
    verbs: Verbs, server: EphemeralServer, other: EphemeralServer
) -> None:
    source = create_in(server, "LATIN1", "mapped")
    sql(
        source,
        "CREATE ROLE propriétaire; CREATE TABLE t (); ALTER TABLE t OWNER TO propriétaire",
        "CREATE ROLE lié; GRANT SELECT ON t TO lié; SELECT lo_create(7)",
        "ALTER LARGE OBJECT 7 OWNER TO propriétaire",
    )
    sql(create_in(other, "LATIN1", "latin"), "CREATE ROLE gérant; CREATE ROLE élu")
    verbs.backup(source)
    restored = target(other, "mapped")
    verbs.restore(restored, role_map={"propriétaire": "gérant", "lié": "élu"})
    assert sql(restored, "SELECT relacl::text FROM pg_class WHERE relname = 't'") == [
        ['{"\\"gérant\\"=arwdDxt/\\"gérant\\"","\\"élu\\"=r/\\"gérant\\""}']
    ]
    with pytest.raises(QueryFailedError, match="LATIN1 has no character '漢'"):
        verbs.restore(target(other, "mapped too"), role_map={"propriétaire": "漢"})


def test_some_tables_come_back_whose_names_are_of_another_encoding(
    verbs: Verbs, server: EphemeralServer
) -> None:
    source = create_in(server, "KOI8R", "some")
    sql(source, "CREATE TABLE таблица (имя text CHECK (имя <> 'нет'))", "INSERT INTO таблица VALUES ('да')")
    verbs.backup(source)
    verbs.restore(source, mode="tables", tables=["public.таблица"], into="снова")
    assert sql(source, "SELECT имя FROM снова.таблица") == [["да"]]


def test_a_swap_tells_what_the_maintenance_database_cannot_be_told(
    verbs: Verbs, server: EphemeralServer
) -> None:
    source = create_in(server, "LATIN1", "swapped")
    sql(source, "CREATE TABLE t AS SELECT 1 AS one; COMMENT ON DATABASE swapped IS 'à moi'")
    verbs.backup(source)
    result = verbs.restore(source, mode="swap", safety="skip")
    assert [one.object for one in result.findings if one.code == "comment-escaped"] == ["swapped"]
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'swapped'"
    assert sql(source, comment) == [[r"\xe0 moi"]]
    sql(source, "ALTER DATABASE swapped OWNER TO café")
    with pytest.raises(TargetLacksError, match=r"aren't UTF8.*: caf\\xe9"):
        verbs.restore(source, mode="swap", safety="skip")
