"""No copy has a hand on the source's replication slot, and no subscriber is sent what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.late import LateTask
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.databases.registration import Registration
from coffre.errors import RestoreExceptionsError, RestoreMismatchError, TablesPublishedError
from coffre.events.restore import DrillRequest
from coffre.notify.publisher import Publisher
from coffre.restore import drill, fill
from coffre.restore.build import discard_database
from coffre.restore.job import Services
from coffre.restore.leftovers import left_databases
from coffre.results import DrillResult, Finding
from coffre.workers import Message
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.store import MemoryStore
from tests.fakes.tables import TABLE
from tests.integration.scale.steps import Hand
from tests.support.postgres import create, customer_server, databases, sql, target, url
from tests.support.restoring import WAYS, restored
from tests.support.vault import DATABASE, SECONDS, ServedStore, Verbs

SUBSCRIBED = """
CREATE TABLE t (id int PRIMARY KEY);
INSERT INTO t VALUES (1), (2);
CREATE SUBSCRIPTION "Fed" CONNECTION 'host=far.invalid' PUBLICATION p
  WITH (connect = false, slot_name = 'precious');
COMMENT ON SUBSCRIPTION "Fed" IS 'from afar';
"""
WATCHED = """
CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN IF current_database() LIKE 'coffre_drill%' THEN RAISE 'not here'; END IF; END $$;
CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse();
"""
REFUSED = "CREATE EVENT TRIGGER refuse_all ON login EXECUTE FUNCTION refuse()"
TWICE = """
CREATE FUNCTION same(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN i; END';
CREATE UNIQUE INDEX same ON t (same(id));
CREATE OR REPLACE FUNCTION same(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
"""
LET_GO = 'ALTER SUBSCRIPTION "Fed" SET (slot_name = NONE); DROP SUBSCRIPTION "Fed"'
HERE = "subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
SLOTS = f"SELECT subname, subenabled, subslotname FROM pg_subscription WHERE {HERE}"


@pytest.fixture(scope="module")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """A server that could send changes to others."""
    with customer_server(postgres_root, 18, scratch_root, {"wal_level": "logical"}) as started:
        yield started


@pytest.fixture
def verbs(postgres_root: Path, scratch_root: Path) -> Verbs:
    return Verbs(MemoryStore(), postgres_root, scratch_root, Catalogue(MemoryDynamo(), TABLE))


def backed_up(verbs: Verbs, server: EphemeralServer, name: str, *statements: str) -> Target:
    """A database with a subscription that is backed up and, in the database itself, dropped then."""
    source = create(server, name, SUBSCRIBED, *statements)
    verbs.backup(source)
    sql(source, LET_GO)
    return source


# Subscriptions


def test_a_restore_that_fails_leaves_no_database_and_no_subscription(
    verbs: Verbs, server: EphemeralServer
) -> None:
    backed_up(verbs, server, "twice", TWICE)
    before = databases(server)
    with pytest.raises(RestoreExceptionsError):
        verbs.restore(target(server, "twice again"))
    assert databases(server) == before


def test_what_is_left_for_inspection_has_no_hand_on_the_sources_slot(
    verbs: Verbs, server: EphemeralServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    backed_up(verbs, server, "unlike")
    before, wanted = databases(server), target(server, "unlike again")
    unlike = Finding(level="refuse", code="objects-differ", object="views", message="a view is missing")
    monkeypatch.setattr(fill, "compare_objects", lambda *_: [unlike])
    with pytest.raises(RestoreMismatchError):
        verbs.restore(wanted)
    (name,) = databases(server) - before
    assert sql(target(server, name), SLOTS) == [["Fed", False, None]]
    with open_session(wanted.maintenance, seconds=60) as session:
        (told,) = left_databases(session, wanted.database)
    assert "DROP SUBSCRIPTION" in told.advice
    discard_database(wanted.maintenance, name)
    assert databases(server) == before


def test_on_the_state_machine_nothing_ever_sees_a_subscription_with_the_sources_slot(
    verbs: Verbs, server: EphemeralServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    backed_up(verbs, server, "stepwise")
    hand = Hand(verbs, verbs._catalogue, target(server, "stepwise again"))
    real, seen = LateTask.run, []

    def watched(task: LateTask, item: Message) -> Message:
        answer = real(task, item)
        seen.append(task._session.run(SLOTS))
        return answer

    monkeypatch.setattr(LateTask, "run", watched)
    hand.confirm()
    answer = hand.go()
    assert [found for found in seen if found]
    assert all(found == [["Fed", False, None]] for found in seen if found)
    assert [f["object"] for f in answer["findings"] if f["code"] == "subscription-detached"] == ["Fed"]
    assert sql(hand.wanted, SLOTS) == [["Fed", False, None]]
    discard_database(hand.wanted.maintenance, hand.wanted.database)


class Drilling:
    """A drill on a server."""

    def __init__(self, verbs: Verbs, server: EphemeralServer) -> None:
        self.services: Services = replace(verbs.restore_services(), registry=cast("Any", self))
        self._server = server

    def get(self, _: str) -> Registration:
        return Registration(secret="none", scratch="scratch")

    def secret(self, _: str) -> str:
        return f'{{"url": "{url(self._server, "postgres")}"}}'

    def run(self, **more: Any) -> DrillResult:
        request = DrillRequest(action="drill", database=DATABASE)
        return drill.run(DATABASE, request, replace(self.services, **more), seconds=SECONDS)


class Listener:
    """Makes a template, which can't be dropped, of a database that was restored."""

    def __init__(self, server: EphemeralServer) -> None:
        self._server = server
        self.heard: dict[str, Mapping[str, Any]] = {}

    def publish(self, kind: str, detail: Mapping[str, Any]) -> None:
        self.heard[kind] = detail
        if kind == "Restore Completed":
            name = detail["target_database"]
            sql(target(self._server, "postgres"), f'ALTER DATABASE "{name}" IS_TEMPLATE true')


def test_a_drill_takes_a_database_with_subscriptions_away_whatever_watches_it(
    verbs: Verbs, server: EphemeralServer
) -> None:
    backed_up(verbs, server, "drilled", WATCHED, REFUSED)
    drills_and_leaves_nothing(verbs, server)


def test_a_drill_on_an_older_server_takes_its_database_away_as_well(
    verbs: Verbs, server16: EphemeralServer
) -> None:
    backed_up(verbs, server16, "drilled", WATCHED)
    drills_and_leaves_nothing(verbs, server16)


def drills_and_leaves_nothing(verbs: Verbs, server: EphemeralServer) -> None:
    before = databases(server)
    result = Drilling(verbs, server).run()
    assert (result.kept_as, result.digests_equal) == (None, True)
    assert [f.object for f in result.findings if f.code == "subscription-detached"] == ["Fed"]
    assert databases(server) == before


def test_a_drill_that_cannot_drop_its_database_says_so(verbs: Verbs, server: EphemeralServer) -> None:
    backed_up(verbs, server, "sticky")
    before, listener = databases(server), Listener(server)
    result = Drilling(verbs, server).run(publisher=cast("Publisher", listener))
    (name,) = databases(server) - before
    assert result.kept_as == name
    assert [f.object for f in result.findings if f.code == "drill-left"] == [name]
    assert listener.heard["Drill Completed"]["kept_as"] == name
    sql(target(server, "postgres"), f'ALTER DATABASE "{name}" IS_TEMPLATE false', f'DROP DATABASE "{name}"')


@pytest.mark.parametrize("machine", WAYS)
@pytest.mark.parametrize("major", [14, 15])
def test_a_subscription_of_an_older_server_is_proven_and_restored(
    postgres_root: Path, scratch_root: Path, major: int, machine: bool
) -> None:
    """pg_dump 16 writes an option that they don't know; and its owner must be a superuser."""
    with customer_server(postgres_root, major, scratch_root) as older, ServedStore() as store:
        catalogue = Catalogue(MemoryDynamo(), TABLE)
        verbs = Verbs(store, postgres_root, scratch_root, catalogue)
        source = backed_up(verbs, older, "older")
        found = verbs.verify()
        assert (found.verdict, found.reasons) == ("proven", [])
        to = target(older, "older again")
        restored(verbs, catalogue, to, machine=machine)
        assert sql(to, SLOTS) == [["Fed", False, None]]
        assert sql(source, SLOTS) == []


# Publications


def test_tables_dont_come_back_into_a_database_that_publishes_all_of_its_tables(
    verbs: Verbs, server: EphemeralServer
) -> None:
    live = backed_up(verbs, server, "published")
    sql(live, 'CREATE PUBLICATION "Everything" FOR ALL TABLES; CREATE PUBLICATION warehouse FOR ALL TABLES')
    before = databases(server)
    with pytest.raises(TablesPublishedError, match="Everything, warehouse"):
        verbs.restore(live, mode="tables", tables=["public.t"], into="rescue")
    assert sql(live, "SELECT count(*) FROM pg_namespace WHERE nspname ~ 'rescue|restoring'") == [[0]]
    assert databases(server) == before


def test_publications_of_some_tables_and_schemas_get_nothing_of_what_comes_back(
    verbs: Verbs, server: EphemeralServer
) -> None:
    live = backed_up(verbs, server, "partly")
    sql(live, "CREATE PUBLICATION one FOR TABLE t; CREATE PUBLICATION two FOR TABLES IN SCHEMA public")
    assert verbs.restore(live, mode="tables", tables=["public.t"], into="rescue").rows == 2
    published = "SELECT pubname, schemaname, tablename FROM pg_publication_tables ORDER BY 1"
    assert sql(live, published) == [["one", "public", "t"], ["two", "public", "t"]]
