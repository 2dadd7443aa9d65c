"""A session leads to the named database itself, under settings of our own, or says why it doesn't."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from coffre.databases.postgresql import connection
from coffre.databases.postgresql.connection import GUARDS, PINNED, open_session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    AuthenticationError,
    CoffreError,
    ConnectionLostError,
    DatabaseMissingError,
    DeadlineExceededError,
    LockNotGrantedError,
    PoolerRefusedError,
    PrivilegesMissingError,
    QueryFailedError,
    SourceUnreachableError,
    TlsError,
)
from tests.faults.injection import Way
from tests.faults.line import FaultyLine
from tests.support.relay import Relay

PASSWORD = "wörd'with\\signs"


@pytest.fixture(scope="module", params=[16, 18])
def boot(request: pytest.FixtureRequest, postgres_root: Path) -> Iterator[Target]:
    """The superuser of a server that asks everybody else for a password."""
    with tempfile.TemporaryDirectory(prefix="coffre-test-") as folder:
        Path(folder).chmod(0o755)
        rules = Path(folder, "pg_hba.conf")
        rules.write_text("local all coffre_boot trust\nlocal all all scram-sha-256\n")
        settings = {"hba_file": str(rules)}
        with EphemeralServer.start(postgres_root, request.param, Path(folder), settings=settings) as server:
            host = str(server.socket_dir)
            target = Target(host, server.port, server.superuser, "postgres", sslmode="disable")
            with open_session(target, seconds=60) as session:
                quoted = PASSWORD.replace("'", "''").replace("\\", "\\\\")
                session.run(f"CREATE ROLE reader LOGIN PASSWORD E'{quoted}'")
                session.run("CREATE DATABASE shop")
            yield replace(target, database="shop")


def path(target: Target) -> str:
    return f"{target.host}/.s.PGSQL.{target.port}"


def through(relay: Relay, target: Target) -> Target:
    return replace(target, host="127.0.0.1", port=relay.port)


def test_the_right_password_connects_and_a_wrong_one_is_refused(boot: Target) -> None:
    reader = replace(boot, user="reader", password=PASSWORD)
    with open_session(reader, seconds=60) as session:
        assert session.value("SELECT current_user") == "reader"
    for wrong in ("hidden-word", "", None):
        with pytest.raises(AuthenticationError) as caught:
            open_session(replace(reader, password=wrong), seconds=60)
        assert "hidden-word" not in str(caught.value)
    with pytest.raises(AuthenticationError):
        open_session(replace(reader, user="nobody"), seconds=60)


def test_a_database_that_is_missing_is_named(boot: Target) -> None:
    with pytest.raises(DatabaseMissingError, match="no such one"):
        open_session(replace(boot, database="no such one"), seconds=60)


@pytest.mark.parametrize(
    "place",
    [
        {"host": "no-such-host.invalid", "port": 5432},
        {"host": "127.0.0.1", "port": 9},
        {"host": "/no/such/folder", "port": 5432},
    ],
)
def test_a_server_that_is_not_there_is_named(boot: Target, place: dict[str, str | int]) -> None:
    with pytest.raises(SourceUnreachableError, match=re.escape(str(place["host"]))):
        open_session(replace(boot, **place), seconds=60)  # type: ignore[arg-type]  # host and port


def test_a_server_without_tls_is_refused_unless_the_target_says_so(boot: Target) -> None:
    with Relay(path(boot)) as relay:
        for mode in ("verify-full", "verify-ca", "require"):
            with pytest.raises(TlsError):
                open_session(replace(through(relay, boot), sslmode=mode), seconds=60)
        with open_session(through(relay, boot), seconds=60) as session:
            assert session.value("SELECT current_database()") == "shop"


def test_a_pooler_is_known_by_the_process_id_that_it_makes_up(boot: Target) -> None:
    def pool(data: bytes) -> bytes:
        return re.sub(rb"K\0\0\0\x0c[\s\S]{4}", b"K\0\0\0\x0c\x7f\xff\xff\x01", data)

    with Relay(path(boot), pool) as relay, pytest.raises(PoolerRefusedError):
        open_session(through(relay, boot), seconds=60)


@pytest.mark.parametrize("host", ["ep-a-1-pooler.eu.aws.neon.tech", "aws-0-eu.pooler.supabase.com"])
def test_providers_poolers_are_refused_without_connecting(boot: Target, host: str) -> None:
    with pytest.raises(PoolerRefusedError):
        open_session(replace(boot, host=host), seconds=60)


HOSTILE = {
    "search_path": "evil",
    "quote_all_identifiers": "on",
    "TimeZone": "'America/St_Johns'",
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "row_security": "on",
    "synchronize_seqscans": "on",
    "xmloption": "document",
    "array_nulls": "off",
    "client_encoding": "LATIN1",
    "default_transaction_read_only": "on",
    "statement_timeout": "'2s'",
    "lock_timeout": "'1s'",
    "idle_in_transaction_session_timeout": "'1s'",
}


@pytest.mark.parametrize("subject", ["DATABASE shop", "ROLE reader", "ROLE reader IN DATABASE shop"])
def test_nothing_that_the_owner_sets_changes_text_or_limits(boot: Target, subject: str) -> None:
    reader = replace(boot, user="reader", password=PASSWORD)
    values = """SELECT 0.1::float8 + 0.2, '\\x00ff'::bytea, '1 mon 2 days 03:04:05'::interval,
                '2026-11-20 03:00+05'::timestamptz, '{NULL,a}'::text[], 'pg_class'::regclass"""
    text = f"SELECT ({values.replace('SELECT', 'ROW(', 1)}))::text"
    with open_session(reader, seconds=120) as session:
        expected = session.value(text)
    with open_session(boot, seconds=60) as session:
        for name, value in HOSTILE.items():
            session.run(f"ALTER {subject} SET {name} TO {value}")
    try:
        with open_session(reader, seconds=120) as session:
            assert session.value(text) == expected
            assert session.value("SHOW statement_timeout") == "2min"
            assert session.value("SHOW idle_in_transaction_session_timeout") == "2min"
            assert session.value("SHOW client_encoding") == "UTF8"
            for name, value in {**GUARDS, **PINNED}.items():
                if name not in ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"):
                    shown = session.value(f"SELECT current_setting('{name}', true)")
                    assert shown in (value, None, '""'), name
    finally:
        with open_session(boot, seconds=60) as session:
            session.run(f"ALTER {subject} RESET ALL")


def test_floats_and_dates_are_written_so_that_they_come_back(boot: Target) -> None:
    with open_session(boot, seconds=60) as session:
        assert session.value("SELECT (0.1::float8 + 0.2)::text") == "0.30000000000000004"
        assert session.value("SELECT ('2026-11-20 03:00+05'::timestamptz)::text") == "2026-11-19 22:00:00+00"
        assert session.value("SELECT ('a\\b'::text)") == "a\\b"


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SET statement_timeout = '100ms'; SELECT pg_sleep(30)", DeadlineExceededError),
        ("SELECT * FROM reserved", PrivilegesMissingError),
        ("SELECT 1/0", QueryFailedError),
        ("SELECT pg_terminate_backend(pg_backend_pid())", ConnectionLostError),
    ],
)
def test_what_the_server_refuses_has_a_class_of_its_own(
    boot: Target, statement: str, error: type[CoffreError]
) -> None:
    with open_session(boot, seconds=60) as session:
        session.run("CREATE TABLE IF NOT EXISTS public.reserved ()")
    reader = replace(boot, user="reader", password=PASSWORD)
    with open_session(reader, seconds=60) as session:
        session.run("SET search_path = public")
        with pytest.raises(error):
            session.run(statement)


def test_a_session_that_ends_while_it_is_set_up_is_a_lost_one(
    boot: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(session: connection.Session, seconds: float) -> None:
        with suppress(CoffreError):
            session.run("SELECT pg_terminate_backend(pg_backend_pid())")
        session.run("SELECT 1")

    monkeypatch.setattr(connection, "_pin", end)
    with pytest.raises(ConnectionLostError):
        open_session(boot, seconds=60)


def test_a_lock_that_is_not_granted_is_not_waited_for_without_end(boot: Target) -> None:
    with open_session(boot, seconds=60) as one, open_session(boot, seconds=60) as two:
        one.run("CREATE TABLE public.busy ()")
        one.run("BEGIN")
        one.run("LOCK TABLE public.busy")
        two.run("SET lock_timeout = '100ms'")
        with pytest.raises(LockNotGrantedError):
            two.run("SELECT * FROM public.busy")


def test_a_server_that_falls_silent_is_not_waited_for_without_end(boot: Target) -> None:
    with FaultyLine(f"{boot.host}/.s.PGSQL.{boot.port}") as line:
        there = replace(boot, host="127.0.0.1", port=line.port)
        with open_session(there, seconds=60) as session:
            assert session.socket.gettimeout() == 60 + connection.SILENCE_SECONDS
            session.socket.settimeout(0.2)
            line.arm(0, Way.TIMEOUT)
            with pytest.raises(ConnectionLostError):
                session.run("SELECT 1")
