"""A restore that is killed leaves what was there as it was, and a rerun ends the work."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coffre.databases.postgresql import tools
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import ConnectionLostError, PlanChangedError, TargetNotEmptyError
from coffre.restore import build
from tests.fakes.store import MemoryStore
from tests.support.postgres import create, databases, dumped, sql, target
from tests.support.vault import Verbs

KILLED = 9
CONTENT = """
CREATE TABLE orders (id int PRIMARY KEY, what text);
INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 200) n;
CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM orders;
"""


@pytest.fixture(scope="module")
def verbs(server16: EphemeralServer, postgres_root: Path, scratch_root: Path) -> Iterator[Verbs]:
    """A database that was backed up and damaged afterwards."""
    made = Verbs(MemoryStore(), postgres_root, scratch_root)
    where = create(server16, "shop", CONTENT)
    made.backup(where)
    sql(where, "DELETE FROM orders WHERE id > 50")
    yield made


def kill_at(monkeypatch: pytest.MonkeyPatch, start: str) -> None:
    """End this process, without any cleanup, before the first statement or program that starts so."""
    statement, program = Session.run, tools.Tools.run

    def run(session: Session, text: str, **parameters: Any) -> Any:
        if text.lstrip().startswith(start):
            os._exit(KILLED)
        return statement(session, text, **parameters)

    def run_program(
        self: tools.Tools, name: str, major: int, arguments: list[str], *more: Any, **named: Any
    ) -> Any:
        if f"{name} {' '.join(arguments)}".startswith(start):
            os._exit(KILLED)
        return program(self, name, major, arguments, *more, **named)

    monkeypatch.setattr(Session, "run", run)
    monkeypatch.setattr(tools.Tools, "run", run_program)


def restore_killed(
    verbs: Verbs, where: Target, monkeypatch: pytest.MonkeyPatch, start: str, **request: Any
) -> None:
    """Restore in another process, which is killed; see `kill_at`."""
    child = os.fork()
    if child == 0:
        try:
            kill_at(monkeypatch, start)
            verbs.restore(where, **request)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == KILLED, f"nothing starts with {start!r}"


@pytest.mark.parametrize(
    "start", ["pg_restore --exit-on-error", "pg_restore --verbose --no-tablespaces --jobs", "ANALYZE"]
)
def test_killed_in_an_empty_database_that_was_there_it_shows_that_it_isnt_whole(
    verbs: Verbs, server16: EphemeralServer, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    where = create(server16, f"there {start[-4:]}")
    restore_killed(verbs, where, monkeypatch, start)
    (mark,) = restoring(where)
    with pytest.raises(TargetNotEmptyError, match=f"holds the schema {mark}: a restore was interrupted"):
        verbs.restore(where)
    sql(where, "DROP SCHEMA public CASCADE", f"DROP SCHEMA {mark}", "CREATE SCHEMA public")
    assert verbs.restore(where).rows == 200
    assert restoring(where) == []


def test_whoever_comes_second_to_a_new_name_is_told_so(
    verbs: Verbs, server16: EphemeralServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = build.fill

    def late(*arguments: Any, **named: Any) -> Any:
        found = filled(*arguments, **named)
        create(server16, "raced")
        return found

    monkeypatch.setattr(build, "fill", late)
    with pytest.raises(PlanChangedError, match="made by somebody else"):
        verbs.restore(target(server16, "raced"))
    assert not [name for name in databases(server16) if name.startswith("raced_")]


def test_whoever_looks_into_the_new_database_does_not_keep_it_from_its_name(
    verbs: Verbs, server16: EphemeralServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A monitor connects to every database that it finds."""
    filled, looking = build.fill, list[Session]()

    def looked_at(restore: Any, situation: Any, working: Target, *more: Any) -> Any:
        found = filled(restore, situation, working, *more)
        looking.append(open_session(working, seconds=60, application="monitor"))
        return found

    monkeypatch.setattr(build, "fill", looked_at)
    verbs.restore(target(server16, "looked"))
    assert sql(target(server16, "looked"), "SELECT count(*) FROM orders") == [[200]]
    with pytest.raises(ConnectionLostError):
        looking[0].run("SELECT 1")


def restoring(where: Target) -> list[str]:
    """The schemas that say so."""
    return [str(name) for (name,) in sql(where, "SELECT nspname FROM pg_namespace") if "coffre" in str(name)]


@pytest.mark.parametrize(
    "start",
    [
        "CREATE DATABASE",
        "pg_restore --exit-on-error",
        "pg_restore --verbose --no-tablespaces --jobs",
        "ANALYZE",
        "ALTER DATABASE",
        "COMMIT",
    ],
)
def test_a_killed_swap_leaves_the_old_database_in_place_and_a_rerun_ends_it(
    verbs: Verbs,
    server16: EphemeralServer,
    postgres_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: str,
) -> None:
    shop = target(server16, "shop")
    before = dumped(postgres_root, shop)
    names = databases(server16)
    restore_killed(verbs, shop, monkeypatch, start, mode="swap", safety="skip")
    assert dumped(postgres_root, shop) == before
    left = databases(server16) - names
    assert all("shop_restoring_" in name for name in left)

    result = verbs.restore(shop, mode="swap", safety="skip")
    assert {f.object for f in result.findings if f.code == "leftover"} == left
    assert sql(shop, "SELECT count(*) FROM orders") == [[200]]
    assert result.kept_as is not None
    assert dumped(postgres_root, target(server16, result.kept_as)) == before
    for statement in (
        *(f'DROP DATABASE "{name}" WITH (FORCE)' for name in {*left, "shop"}),
        f'ALTER DATABASE "{result.kept_as}" RENAME TO shop',
    ):
        sql(target(server16, "postgres"), statement)


@pytest.mark.parametrize("start", ["pg_dump", "ALTER SCHEMA"])
def test_killed_while_tables_come_back_nothing_bears_the_schemas_name_and_a_rerun_ends_it(
    verbs: Verbs,
    server16: EphemeralServer,
    postgres_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: str,
) -> None:
    shop = target(server16, "shop")
    before, names = dumped(postgres_root, shop), databases(server16)
    asked: dict[str, Any] = {"mode": "tables", "tables": ["public.orders"], "into": "rescue"}
    restore_killed(verbs, shop, monkeypatch, start, **asked)
    schemas = "SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^(rescue|coffre)'"
    left = {row[0] for row in sql(shop, schemas)}
    made = databases(server16) - names
    assert left or made
    assert all("_restoring_" in name for name in left | made)

    result = verbs.restore(shop, **asked)
    assert {f.object for f in result.findings if f.code == "leftover"} == left | made
    assert sql(shop, "SELECT count(*) FROM rescue.orders") == [[200]]
    for name in left | {"rescue"}:
        sql(shop, f'DROP SCHEMA "{name}" CASCADE')
    for name in made:
        sql(target(server16, "postgres"), f'DROP DATABASE "{name}" WITH (FORCE)')
    assert (dumped(postgres_root, shop), databases(server16)) == (before, names)
