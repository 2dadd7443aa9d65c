"""A source reached over TCP: TLS is verified unless the URL says otherwise, and never falls back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from tests.support.debian import PROGRAMS, Authority, DebianServer, debian_server
from tests.support.postgres import dumped, sql, target, url
from tests.support.stack import FunctionError, Stack

pytestmark = pytest.mark.skipif(
    not PROGRAMS.is_dir(), reason="needs Debian's PostgreSQL 15: the bundled servers are built without TLS"
)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The authority that signed the server's certificate."""
    return Authority.new("Authority of the test")


PASSWORD = "s3cret:w@rd/\\é %41"


@pytest.fixture(scope="module")
def source(authority: Authority) -> Iterator[DebianServer]:
    """A PostgreSQL 15 with a small database ``shop``."""
    with debian_server(authority, PASSWORD) as server:
        sql(server.target("postgres"), "CREATE DATABASE shop")
        sql(
            server.target("shop"),
            "CREATE TABLE items (id serial PRIMARY KEY, name text, kind \"char\" DEFAULT 'x')",
            "INSERT INTO items (name) SELECT 'item ' || n FROM generate_series(1, 500) n",
            "SELECT lo_from_bytea(5001, 'an old large object')",
        )
        yield server


def refused(stack: Stack, url: str, ca: str = "") -> str:
    """The code with which a backup of this URL is refused."""
    stack.register("refused", url, ca)
    with pytest.raises(FunctionError) as error:
        stack.backup("refused")
    assert "s3cret" not in str(error.value)
    assert stack.manifests("refused") == []
    return error.value.code


def test_a_verified_source_of_version_15_is_backed_up_proven_and_restored(
    stack: Stack, source: DebianServer, authority: Authority, server16: EphemeralServer, postgres_root: Path
) -> None:
    stack.register("tls", source.url("shop"), authority.pem)
    answer = stack.backup("tls")
    assert (answer["status"], answer["rows"]) == ("completed", 500)
    stack.drain()
    proof = stack.told("tls", "Proof")
    assert (proof.detail["reasons"], proof.type) == ([], "Proof Passed")
    assert stack.manifest("tls").engine.server_version_num // 10_000 == 15

    sql(target(server16, "postgres"), "CREATE ROLE backup SUPERUSER")
    stack.restore("tls", url(server16, "shop"))
    assert dumped(postgres_root, target(server16, "shop")) == dumped(postgres_root, source.target("shop"))


def test_an_unknown_authority_is_refused(stack: Stack, source: DebianServer) -> None:
    assert refused(stack, source.url("shop"), Authority.new("Somebody else").pem) == "tls-refused"
    assert refused(stack, source.url("shop")) == "tls-refused", "no bundle: the public authorities"


def test_a_certificate_for_another_host_is_refused(
    stack: Stack, source: DebianServer, authority: Authority
) -> None:
    assert refused(stack, source.url("shop", host="127.0.0.1"), authority.pem) == "tls-refused"
    stack.register("lower", source.url("shop", host="127.0.0.1", sslmode="verify-ca"), authority.pem)
    assert stack.backup("lower", preflight_only=True)["status"] == "checked"


def test_sslmode_require_encrypts_without_verifying(stack: Stack, source: DebianServer) -> None:
    stack.register("required", source.url("shop", sslmode="require"), prove="never")
    assert stack.backup("required")["rows"] == 500


def test_a_wrong_password_and_an_unknown_database_are_told_apart(
    stack: Stack, source: DebianServer, authority: Authority
) -> None:
    wrong = DebianServer(source.port, "s3cret-but-wrong")
    assert refused(stack, wrong.url("shop"), authority.pem) == "authentication-refused"
    assert refused(stack, source.url("no_shop"), authority.pem) == "database-missing"


def test_a_server_that_refuses_tls_is_never_spoken_to_in_plain_text(
    stack: Stack, source: DebianServer, authority: Authority
) -> None:
    with debian_server(authority, PASSWORD, tls=False) as plain:
        assert refused(stack, plain.url("postgres"), authority.pem) == "tls-refused"
        assert refused(stack, plain.url("postgres", sslmode="require")) == "tls-refused"
        stack.register("plain", plain.url("postgres", sslmode="disable"))
        assert stack.backup("plain", preflight_only=True)["status"] == "checked"
