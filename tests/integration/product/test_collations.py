"""A restored database sorts as its source does, whatever the target's own databases do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from tests.fakes.store import MemoryStore
from tests.support.postgres import create, customer_server, sql, target
from tests.support.vault import Verbs

MAJOR = 17
ICU = "LOCALE_PROVIDER icu ICU_LOCALE 'en'"


@pytest.fixture(scope="module")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """Its new databases sort by ICU, as those of a server that was made so."""
    with customer_server(postgres_root, MAJOR, scratch_root) as made:
        create(made, "plain", "CREATE TABLE words AS SELECT unnest('{a,B,c}'::text[]) AS word")
        sql(
            target(made, "postgres"),
            f"CREATE DATABASE other TEMPLATE template0 {ICU} IS_TEMPLATE true ALLOW_CONNECTIONS false",
            "ALTER DATABASE template0 RENAME TO original",
            "ALTER DATABASE other RENAME TO template0",
            "UPDATE pg_database SET datcollversion = NULL WHERE datname = 'template0'",
        )
        yield made


@pytest.fixture
def verbs(postgres_root: Path, scratch_root: Path) -> Verbs:
    return Verbs(MemoryStore(), postgres_root, scratch_root)


def test_a_database_of_the_c_library_doesnt_become_one_of_icu(server: EphemeralServer, verbs: Verbs) -> None:
    verbs.backup(target(server, "plain"))
    verbs.restore(target(server, "again"))
    words = [
        sql(target(server, name), "SELECT string_agg(word, '' ORDER BY word) FROM words")
        for name in ("plain", "again")
    ]
    assert words == [[["Bac"]]] * 2


def test_rules_of_a_databases_own_are_told_to_be_left_out(server: EphemeralServer, verbs: Verbs) -> None:
    options = f"TEMPLATE template0 {ICU} ICU_RULES '&a < b' LC_COLLATE 'C' LC_CTYPE 'C'"
    sql(target(server, "postgres"), f"CREATE DATABASE ruled {options}")
    sql(target(server, "ruled"), "CREATE TABLE kept ()")
    found = verbs.backup(target(server, "ruled")).findings
    assert [one.code for one in found] == ["icu-rules-left-out"]
