"""What a role can't read, and what a dump would lose, is found before a backup, all of it and by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coffre.databases.postgresql import preflight
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.snapshot import HeldSnapshot
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    CoffreError,
    PrivilegesMissingError,
    RowSecurityError,
    ServerTooNewError,
    ServerTooOldError,
    StandbyRefusedError,
    UnsupportedExtensionError,
)
from coffre.results import Finding
from tests.support.postgres import create, customer_server, sql

SCHEMA = """
CREATE ROLE owner; CREATE ROLE reader LOGIN; CREATE ROLE team; GRANT team TO reader;
CREATE SCHEMA closed; CREATE SCHEMA open; GRANT USAGE ON SCHEMA open TO reader;
CREATE TABLE closed.rows (); GRANT SELECT ON closed.rows TO reader;
CREATE TABLE open.allowed (id int); GRANT SELECT ON open.allowed TO team;
CREATE TABLE open.columns (id int, secret text); GRANT SELECT (id) ON open.columns TO reader;
CREATE TABLE open."For""bidden" ();
CREATE TABLE open.parts (id int) PARTITION BY LIST (id); GRANT SELECT ON open.parts TO reader;
CREATE TABLE open.parts_1 PARTITION OF open.parts DEFAULT;
CREATE SEQUENCE open.numbers;
CREATE SEQUENCE open.allowed_numbers; GRANT SELECT ON open.allowed_numbers TO reader;
SELECT lo_create(4711), lo_create(4712), lo_create(4713);
GRANT SELECT ON LARGE OBJECT 4712 TO team; GRANT SELECT ON LARGE OBJECT 4713 TO PUBLIC;
"""
UNREADABLE = [
    "closed.rows",
    'open."For""bidden"',
    "open.columns",
    "open.numbers",
    "open.parts_1",
    "large object 4711",
]


@pytest.fixture(scope="module")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    with customer_server(postgres_root, 18, scratch_root) as server:
        yield server


@pytest.fixture(scope="module")
def shop(server: EphemeralServer) -> Target:
    return create(server, "shop", SCHEMA)


def inspect(target: Target) -> list[Finding]:
    with open_session(target, seconds=60) as session:
        return preflight.inspect(session)


def refused(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level == "refuse"]


def test_a_superuser_is_refused_nothing(shop: Target) -> None:
    assert refused(inspect(shop)) == []


def test_everything_that_a_role_can_not_read_is_named(shop: Target) -> None:
    [finding] = refused(inspect(replace(shop, user="reader")))
    assert finding.object == ", ".join(UNREADABLE)
    assert all(name in finding.message for name in UNREADABLE)
    assert finding.advice
    with pytest.raises(PrivilegesMissingError, match="parts_1"):
        preflight.raise_refusal([finding], "shop")


def test_a_role_that_may_read_all_data_is_refused_nothing_but_large_objects(shop: Target) -> None:
    sql(shop, "CREATE ROLE auditor LOGIN", "GRANT pg_read_all_data TO auditor")
    [finding] = refused(inspect(replace(shop, user="auditor")))
    assert finding.object == "large object 4711, large object 4712"


def test_hundreds_of_unreadable_tables_make_a_message_that_can_be_read(server: EphemeralServer) -> None:
    many = create(
        server,
        "many",
        "DO $$ BEGIN FOR n IN 1..300 LOOP EXECUTE 'CREATE TABLE t' || n || ' ()'; END LOOP; END $$",
    )
    [finding] = refused(inspect(replace(many, user="reader")))
    assert finding.object.count(",") == 299
    assert "and 250 more" in finding.message
    assert len(finding.message) < 2000


def test_rows_that_a_policy_hides_refuse_the_backup(server: EphemeralServer) -> None:
    hidden = create(
        server,
        "hidden",
        "CREATE TABLE rows (mine boolean); GRANT SELECT ON rows TO reader",
        "ALTER TABLE rows ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON rows USING (mine)",
        "INSERT INTO rows VALUES (true), (false)",
        "CREATE ROLE trusted LOGIN BYPASSRLS; GRANT SELECT ON rows TO trusted",
    )
    [finding] = refused(inspect(replace(hidden, user="reader")))
    assert finding.object == "public.rows"
    with pytest.raises(RowSecurityError, match=r"public\.rows"):
        preflight.raise_refusal([finding], "hidden")
    assert refused(inspect(replace(hidden, user="trusted"))) == []
    # Should a policy slip in afterwards, reading fails; it never leaves rows out.
    with (
        open_session(replace(hidden, user="reader"), seconds=60) as session,
        pytest.raises(CoffreError, match="polic"),
    ):
        session.run("SELECT * FROM public.rows")


def test_a_table_whose_owner_is_subject_to_its_policies_refuses_the_owner(server: EphemeralServer) -> None:
    forced = create(
        server,
        "forced",
        "CREATE ROLE landlord LOGIN",
        "CREATE TABLE rows (); ALTER TABLE rows OWNER TO landlord",
        "ALTER TABLE rows ENABLE ROW LEVEL SECURITY",
    )
    assert refused(inspect(replace(forced, user="landlord"))) == []
    sql(forced, "ALTER TABLE rows FORCE ROW LEVEL SECURITY")
    assert [finding.object for finding in refused(inspect(replace(forced, user="landlord")))] == [
        "public.rows"
    ]


def test_foreign_tables_are_named_and_do_not_stop_a_backup(server: EphemeralServer) -> None:
    away = create(
        server,
        "away",
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing",
        "CREATE FOREIGN TABLE elsewhere (id int) SERVER far",
    )
    findings = inspect(away)
    assert refused(findings) == []
    assert [finding.object for finding in findings if finding.code == "left-out"] == ["public.elsewhere"]


EXTENSIONS = "SELECT extname FROM pg_extension"


class Pretending:
    """A session whose server answers some questions with what a test says."""

    def __init__(self, session: Session, answers: dict[str, Any], version: int | None = None) -> None:
        self._session = session
        self._answers = answers
        self.target, self.encoding = session.target, session.encoding
        self.major = (version or session.version) // 10_000

    def run(self, statement: str) -> list[list[Any]]:
        return self._answers[statement] if statement in self._answers else self._session.run(statement)

    def value(self, statement: str) -> Any:
        return self.run(statement)[0][0]


@pytest.mark.parametrize(
    ("version", "answers", "error", "match"),
    [
        (130_012, {}, ServerTooOldError, r"PostgreSQL 13.*14 to 18"),
        (190_000, {}, ServerTooNewError, r"PostgreSQL 19.*14 to 18"),
        (
            None,
            {"SELECT pg_is_in_recovery()": [[True]], "SHOW hot_standby_feedback": [["off"]]},
            StandbyRefusedError,
            "hot_standby_feedback",
        ),
        (
            None,
            {
                "SELECT pg_is_in_recovery()": [[True]],
                "SHOW hot_standby_feedback": [["on"]],
                "SHOW wal_receiver_status_interval": [["0"]],
            },
            StandbyRefusedError,
            "wal_receiver_status_interval",
        ),
        (
            None,
            {"SELECT extname FROM pg_extension": [["timescaledb"]]},
            UnsupportedExtensionError,
            "timescaledb",
        ),
        (None, {"SELECT extname FROM pg_extension": [["citus"]]}, UnsupportedExtensionError, "citus"),
    ],
)
def test_servers_that_a_dump_would_get_wrong_are_refused(
    shop: Target, version: int | None, answers: dict[str, Any], error: type[CoffreError], match: str
) -> None:
    with open_session(shop, seconds=60) as session:
        pretending: Any = Pretending(session, answers, version)
        findings = preflight.inspect(pretending)
    with pytest.raises(error, match=match):
        preflight.raise_refusal(findings, "shop")


def test_a_standby_whose_primary_keeps_old_rows_is_noted_only(shop: Target) -> None:
    answers = {"SELECT pg_is_in_recovery()": [[True]], "SHOW hot_standby_feedback": [["on"]]}
    with open_session(shop, seconds=60) as session:
        pretending: Any = Pretending(session, answers)
        findings = preflight.inspect(pretending)
    assert [(finding.level, finding.code) for finding in findings] == [("info", "standby")]


def test_what_preflight_allows_can_be_held(server: EphemeralServer) -> None:
    readable = create(server, "readable", "CREATE TABLE rows (id int)", "GRANT SELECT ON rows TO reader")
    sql(readable, "GRANT USAGE ON SCHEMA public TO reader")
    reader = replace(readable, user="reader")
    assert refused(inspect(reader)) == []
    with HeldSnapshot(reader, seconds=60, application="coffre/test") as held:
        assert held.id
