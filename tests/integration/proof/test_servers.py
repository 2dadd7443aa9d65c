"""Proofs run on the source's own major version, with what real databases use; what is lacking is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from coffre.databases.postgresql import description
from coffre.databases.postgresql.server import EphemeralServer
from coffre.vault.manifest import Locale
from tests.conftest import MAJORS
from tests.integration.proof.conftest import Prove
from tests.support.postgres import create, customer_server, sql, target
from tests.support.vault import Verbs

RICH = (Path(__file__).parent / "rich.sql").read_text()


@pytest.mark.parametrize("major", MAJORS)
def test_a_database_of_every_major_with_contrib_icu_and_xml_is_proven(
    postgres_root: Path, scratch_root: Path, proven: Prove, verbs: Verbs, major: int
) -> None:
    with customer_server(postgres_root, major, scratch_root) as server:
        result = proven(create(server, "rich", RICH))
    assert (result.reasons, result.verdict) == ([], "proven")
    assert (result.rows, result.compared.materialized_views) == (200, 1)
    manifest = verbs.manifest()
    assert manifest.engine.major == major
    assert {"feature:icu", "feature:xml", 'collation:pg_catalog."fr-x-icu"'} <= set(manifest.needs)
    assert 'collation:pg_catalog."sv-x-icu"' in manifest.needs
    assert {"pgcrypto", "hstore", "citext"} <= {extension.name for extension in manifest.extensions}
    assert all(extension.version for extension in manifest.extensions)


@pytest.mark.parametrize(
    "locale", ["LOCALE_PROVIDER icu ICU_LOCALE 'de-AT'", "LOCALE_PROVIDER builtin LOCALE 'C.UTF-8'"]
)
def test_the_proofs_database_has_the_sources_own_provider_and_collation(
    server17: EphemeralServer, proven: Prove, locale: str
) -> None:
    """Under collation C the partition's bounds would refuse the row."""
    name = locale.split()[1]
    options = f"TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' {locale}"
    sql(target(server17, "postgres"), f"CREATE DATABASE {name} {options}")
    made = target(server17, name)
    sql(made, "CREATE TABLE words (w text CHECK (w ~ '^\\w+$')); INSERT INTO words VALUES (chr(233))")
    sql(made, "CREATE TYPE price_range AS RANGE (subtype = numeric)")
    sql(made, "CREATE AGGREGATE most(int) (SFUNC = int4larger, STYPE = int)")
    if name == "icu":
        sql(
            made,
            "CREATE TABLE names (n text) PARTITION BY RANGE (n)",
            "CREATE TABLE names_a PARTITION OF names FOR VALUES FROM ('a') TO ('n')",
            "INSERT INTO names VALUES ('B')",
        )
    result = proven(made)
    assert (result.reasons, result.verdict) == ([], "proven")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources have a locale that this machine's C library doesn't know."""
    found = Locale(encoding="UTF8", provider="c", collate="xx_YY.UTF-8", ctype="xx_YY.UTF-8", locale=None)
    monkeypatch.setattr(description, "_locale", lambda _: found)


@pytest.mark.parametrize(("major", "instead"), [(14, "C.UTF-8"), (17, "ICU's xx-YY")])
@pytest.mark.usefixtures("elsewhere")
def test_a_collation_of_the_sources_machine_is_replaced_and_that_is_said(
    postgres_root: Path, scratch_root: Path, proven: Prove, major: int, instead: str
) -> None:
    """Under collation C the check would refuse the row."""
    with customer_server(postgres_root, major, scratch_root) as server:
        options = "TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
        sql(target(server, "postgres"), f"CREATE DATABASE words {options}")
        made = target(server, "words")
        sql(made, "CREATE TABLE t (w text CHECK (w ~ '^\\w+$')); INSERT INTO t VALUES (chr(233))")
        result = proven(made)
    assert result.verdict == "proven"
    (said,) = result.reasons
    assert (said.level, said.code, said.object) == ("info", "collation-replaced", "xx_YY.UTF-8")
    assert instead in said.message


@pytest.mark.usefixtures("elsewhere")
def test_what_fails_under_a_replaced_collation_is_inconclusive(
    server17: EphemeralServer, proven: Prove
) -> None:
    made = create(
        server17,
        "ordered",
        "CREATE FUNCTION fits() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "CREATE TABLE t (w int CHECK (fits())); INSERT INTO t VALUES (1)",
        "CREATE OR REPLACE FUNCTION fits() RETURNS boolean LANGUAGE sql AS 'SELECT false'",
    )
    result = proven(made)
    assert result.verdict == "inconclusive"
    assert [r.code for r in result.reasons] == ["exception-check", "collation-replaced"]


def test_what_no_proof_server_has_is_named_object_by_object(
    postgres_root: Path, scratch_root: Path, proven: Prove
) -> None:
    """The source's server has an extension of its own, and a newer version of a known one."""
    opt = scratch_root / "opt"
    extensions = Path(shutil.copytree(postgres_root.parent / "proof/17", opt / "proof/17")) / (
        "share/postgresql/extension"
    )
    for name, version in (("ghost", "1.0"), ("hstore", "9.9")):
        (extensions / f"{name}.control").write_text(f"default_version = '{version}'\nrelocatable = true\n")
        (extensions / f"{name}--{version}.sql").write_text(f"CREATE TYPE {name} AS ENUM ('boo');\n")
    (opt / "postgres").mkdir()
    with customer_server(opt / "postgres", 17, scratch_root) as server:
        made = create(
            server,
            "haunted",
            "CREATE EXTENSION ghost; CREATE EXTENSION hstore; CREATE EXTENSION citext",
            "CREATE TABLE t (id int, g ghost); INSERT INTO t VALUES (1, 'boo')",
            "CREATE FUNCTION quiet() RETURNS int LANGUAGE sql SET log_min_messages = 'error' AS 'SELECT 1'",
            "CREATE FUNCTION twin(text) RETURNS int LANGUAGE internal AS 'textlen'",
            "CREATE FUNCTION own() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', "
            "'plpgsql_call_handler'",
            "CREATE TYPE shell",
            "CREATE AGGREGATE avg_twin(numeric) (SFUNC = numeric_avg_accum, STYPE = internal,"
            " FINALFUNC = numeric_avg)",
        )
        result = proven(made)
    assert result.verdict == "inconclusive"
    assert {(r.level, r.code) for r in result.reasons} == {("warn", "needs")}
    assert {r.object for r in result.reasons} == {
        "extension:ghost",
        "extension:hstore 9.9",
        "superuser:setting log_min_messages",
        "superuser:language c",
        "superuser:language internal",
        "superuser:type public.shell",
        "superuser:aggregate public.avg_twin(numeric)",
    }
    assert any("no extension ghost" in r.message for r in result.reasons)
