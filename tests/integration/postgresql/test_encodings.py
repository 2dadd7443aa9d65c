"""What Coffre says of encodings is what servers do, and sessions read whatever a cluster holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coffre.databases.postgresql.connection import identifier, open_session
from coffre.databases.postgresql.copy import copy_in, run_script
from coffre.databases.postgresql.description import describe
from coffre.databases.postgresql.encodings import can_say, codec_of
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.standing import find, nameless_of
from coffre.errors import QueryFailedError
from tests.support.encodings import ENCODINGS, FOREIGN, create_in, foreign_server
from tests.support.postgres import create, sql, target

# Bytes with a meaning of their own in some encoding, and what may follow them.
FIRST = [bytes([byte]) for byte in (*b"A\x80\x81\x8d\x8e\x8f\x90\x9b\x9c\x9e\xa0\xa1\xc2\xe3\xf0\xff",)]
REST = [
    b"",
    b"A",
    b"\x80",
    b"\xa1",
    b"\xdf",
    b"\xff",
    b"\xa1\xa1",
    b"\xa8\xa1A",
    b"\xa1\xa1\xa1",
    b"\x80\x80\x80",
]


@pytest.fixture(scope="module")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """A server with a role that was made in a database of another encoding."""
    with foreign_server(postgres_root, scratch_root) as started:
        yield started


@pytest.fixture(scope="module")
def utf8(server: EphemeralServer) -> str:
    create(server, "utf8", "CREATE TABLE t (id int)")
    return "utf8"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_server_takes_what_can_be_said_and_nothing_else(server: EphemeralServer, encoding: str) -> None:
    with open_session(target(server, "postgres"), seconds=60) as session:
        for name in (first + rest for first in FIRST for rest in REST):
            try:
                session.run(f"SELECT length('\\x{name.hex()}'::bytea, '{encoding}')")
                taken = True
            except QueryFailedError:
                taken = False
            assert can_say(name.decode(codec_of(encoding)), encoding) == taken, name


def test_a_role_of_another_encoding_is_read_and_its_bytes_are_kept(
    server: EphemeralServer, utf8: str
) -> None:
    with open_session(target(server, utf8), seconds=60) as session:
        roles = {role.name: role for role in describe(session).roles}
    assert not roles[FOREIGN].used
    with open_session(target(server, "latin"), seconds=60) as session:
        assert "café" in {role.name for role in describe(session).roles}


def test_who_has_such_a_name_connects_and_his_errors_are_readable(server: EphemeralServer, utf8: str) -> None:
    with open_session(replace(target(server, utf8), user=FOREIGN), seconds=60) as session:
        assert session.value("SELECT current_user") == FOREIGN
        for run in (session.run, lambda text: run_script(session, text.encode(session.python_encoding))):
            with pytest.raises(QueryFailedError, match="does not exist") as caught:
                run(f"DROP ROLE {identifier('caf')}, {identifier('é')}")
            assert caught.value.sqlstate == "42704"


def test_what_belongs_to_a_database_of_another_encoding_is_told(server: EphemeralServer) -> None:
    made = create_in(server, "LATIN1", "owned")
    sql(made, "ALTER DATABASE owned OWNER TO café; COMMENT ON DATABASE owned IS 'à moi'")
    with open_session(target(server, "postgres"), seconds=60) as session:
        standing = find(session, "owned")
        assert standing is not None
        assert (standing.comment, standing.escaped) == (r"\xe0 moi", True)
        assert nameless_of(session, standing) == [FOREIGN]
    with open_session(made, seconds=60) as session:
        standing = find(session, "owned")
        assert standing is not None
        assert (standing.comment, standing.escaped) == ("à moi", False)
        assert nameless_of(session, standing) == []


def test_text_that_a_database_cannot_hold_is_refused_and_the_session_goes_on(server: EphemeralServer) -> None:
    with open_session(target(server, "latin"), seconds=60) as session:
        for ask in (
            lambda: session.value("SELECT :name::text", name="漢"),
            lambda: session.value("SELECT '漢'"),
            lambda: session.run_one("SELECT '漢'"),
            lambda: copy_in(session, "COPY 漢 FROM STDIN", []),
        ):
            with pytest.raises(QueryFailedError, match="LATIN1 has no character '漢'"):
                ask()
            assert session.value("SELECT :name::text", name="é") == "é"


@pytest.mark.parametrize("encoding", ["EUC_TW", "WIN866", "SJIS"])
def test_a_role_that_asks_for_another_encoding_gets_the_databases(
    server: EphemeralServer, utf8: str, encoding: str
) -> None:
    asked = f"ALTER ROLE other SET client_encoding = '{encoding}'"
    sql(target(server, utf8), f"DROP ROLE IF EXISTS other; CREATE ROLE other LOGIN; {asked}")
    with open_session(replace(target(server, utf8), user="other"), seconds=60) as session:
        assert session.value("SHOW client_encoding") == "UTF8"
        assert session.value("SELECT '漢'") == "漢"
