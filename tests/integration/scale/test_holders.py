"""Holders of one snapshot, one by one: events come late or twice, and a source has no room for a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from coffre.backup import hold as holding
from coffre.backup.job import VERSION, Job, Services
from coffre.catalogue.index import Catalogue
from coffre.catalogue.ledger import Ledger, Progress
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.snapshot import import_snapshot
from coffre.databases.postgresql.target import Source, Target
from coffre.databases.registration import Registration
from coffre.events.backup import BackupRequest
from coffre.ids import utc_now
from coffre.notify.waiting import TaskToken
from coffre.results import HolderResult
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.tables import TABLE
from tests.integration.scale.desk import ROWS, no_sessions_left_of, soon
from tests.support.postgres import create, sql, target
from tests.support.versions import OTHERS, begun_by_another

DATABASE = "held"
ATTEMPT = "a" * 12
BACKUP = "20261120T030000Z-daily-1f09ab"
PLAIN = "plain"


@dataclass
class State:
    """The state that waits for a holder: its token's twin.

    Attributes
    ----------
    waits:
        Whether it still does.
    asked:
        Is called with the number of each heartbeat, from 1, before it is answered.
    told:
        The answers that it got while it waited.
    """

    waits: bool = True
    asked: Callable[[int], object] = lambda _: None
    told: list[Any] = field(default_factory=list)
    beats: int = 0

    def heartbeat(self) -> bool:
        """Take a sign of life."""
        self.beats += 1
        self.asked(self.beats)
        return self.waits

    def succeed(self, answer: Any) -> bool:
        """Take the result, after which nobody waits."""
        return self._end(answer)

    def fail(self, error: str, _: str) -> bool:
        """Take an error."""
        return self._end(error)

    def _end(self, what: object) -> bool:
        waited, self.waits = self.waits, False
        self.told += [what] if waited else []
        return waited


class Dynamo(MemoryDynamo):
    """A catalogue's table that doesn't answer while it ``is_away``."""

    is_away = False

    def get_item(self, **given: Any) -> Any:
        """One item."""
        return self._if_there(super().get_item, given)

    def update_item(self, **given: Any) -> Any:
        """Change one."""
        return self._if_there(super().update_item, given)

    def _if_there(self, call: Callable[..., Any], given: Any) -> Any:
        if self.is_away:
            raise ClientError({"Error": {"Code": "InternalServerError", "Message": ""}}, "any")
        return call(**given)


class Run:
    """A run whose holders are started by hand."""

    def __init__(self, source: Target) -> None:
        self.source = source
        self.dynamo = Dynamo()
        self.catalogue = Catalogue(self.dynamo, TABLE)
        self.ledger.open(BACKUP, utc_now() + timedelta(hours=1), version=VERSION)
        self._threads: list[threading.Thread] = []

    @property
    def ledger(self) -> Ledger:
        """What its functions tell each other."""
        return self.catalogue.ledger(DATABASE, ATTEMPT)

    @property
    def now(self) -> Progress:
        """How far it is."""
        state = self.ledger.read()
        assert state is not None
        return state

    def hold(self, state: State, source: Target | None = None, pass_on_seconds: float = 60) -> HolderResult:
        """Do what a holder's function does, to its end."""
        request = BackupRequest(type="daily", scheduled_time=utc_now(), database=DATABASE)
        where = Source(source or self.source)
        ends = time.monotonic() + 900
        job = Job(request, DATABASE, Registration(secret="-"), where, BACKUP, ATTEMPT, utc_now(), ends)
        services = cast("Services", SimpleNamespace(catalogue=self.catalogue))
        token = cast("TaskToken", state)
        return holding.hold(job, services, token, seconds=120, pass_on_seconds=pass_on_seconds)

    def start(self, state: State, source: Target | None = None, pass_on_seconds: float = 60) -> None:
        """Let a holder go on by itself, as soon as it has the snapshot."""
        number = self.now.holder + 1
        thread = threading.Thread(target=self.hold, args=(state, source, pass_on_seconds))
        thread.start()
        self._threads.append(thread)
        soon(lambda: self.now.holder == number, "a holder")

    def is_read(self) -> bool:
        """Whether the snapshot that a worker would find is there."""
        with open_session(self.source, seconds=60) as session:
            import_snapshot(session, self.now.snapshot)
            return True

    def end(self) -> None:
        """Let all rows be read, and all holders end."""
        self.ledger.end("open", "released")
        for thread in self._threads:
            thread.join()


@pytest.fixture(scope="module")
def source(server: EphemeralServer) -> Target:
    rights = f"CREATE ROLE {PLAIN} LOGIN; GRANT pg_read_all_data TO {PLAIN}"
    sql(target(server, "postgres"), rights)
    return create(server, DATABASE, ROWS)


@pytest.fixture
def run(server: EphemeralServer, source: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setattr(holding, "TICK_SECONDS", 0.1)
    monkeypatch.setattr(holding, "LINGER_SECONDS", 0.1)
    made = Run(source)
    yield made
    made.end()
    no_sessions_left_of(server, DATABASE)


def test_a_holder_that_nobody_waits_for_leaves_the_snapshot_to_who_has_it(run: Run) -> None:
    """Its event waited in a queue, while another one was started in its place; or it came twice."""
    first = State()
    run.start(first)
    held = run.now
    assert run.hold(State(waits=False)).ended == "abandoned"
    assert run.now == held
    run.end()
    assert first.told == [{"over": True}]


def test_a_holder_that_was_given_up_while_it_opened_publishes_nothing(run: Run) -> None:
    late = State()

    def give_up(beat: int) -> None:
        late.waits = beat == 1

    late.asked = give_up
    run.start(State())
    held = run.now
    assert run.hold(late).ended == "abandoned"
    assert (run.now, run.is_read()) == (held, True)


def test_a_successor_tries_again_while_its_predecessor_holds_on(run: Run, server: EphemeralServer) -> None:
    """The source has no connection left for a moment."""
    before, after = State(), State()
    run.start(before, pass_on_seconds=0)
    soon(lambda: before.told, "the call for a successor")
    limit = f"ALTER DATABASE {DATABASE} CONNECTION LIMIT "
    sql(target(server, "postgres"), limit + "0")

    def relent(beat: int) -> None:
        if beat == 2:  # the first is before it tries
            sql(target(server, "postgres"), limit + "-1")

    after.asked = relent
    run.start(after, replace(run.source, user=PLAIN))
    assert (run.now.code, run.is_read()) == ("", True)
    run.end()
    assert (before.told, after.told) == ([{"over": False}], [{"over": True}])


@pytest.mark.parametrize("version", OTHERS.values(), ids=OTHERS.keys())
def test_a_successor_takes_nothing_over_from_another_version_and_says_so(
    run: Run, version: int | None
) -> None:
    """Functions were deployed, or an older version was: the attempt ends at once, and by name."""
    run.start(State())
    begun_by_another(run.ledger, version)
    held, after = run.now, State()
    assert run.hold(after).code == "run-of-another-version"
    assert after.told == ["RunOfAnotherVersionError"]
    assert (run.now.holder, run.now.snapshot, run.now.code) == (1, held.snapshot, "run-of-another-version")


def test_a_holder_keeps_the_snapshot_while_the_catalogue_does_not_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine hears of it meanwhile: nobody is started in its place."""
    monkeypatch.setattr(holding, "BEAT_SECONDS", 0.1)
    state = State()
    run.start(state)
    run.dynamo.is_away, heard = True, state.beats
    soon(lambda: state.beats > heard + 3, "signs of life")
    run.dynamo.is_away = False
    assert (state.told, run.is_read()) == ([], True)
    run.end()
    assert state.told == [{"over": True}]


def test_a_catalogue_that_stays_away_ends_a_holder_and_its_machine_hears_why(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing for it to write that to.  Another one may be in time."""
    monkeypatch.setattr(holding, "BLIND_SECONDS", 0.5)
    state = State()
    run.start(state)
    run.dynamo.is_away = True
    soon(lambda: state.told, "the end")
    run.dynamo.is_away = False
    assert state.told == ["CatalogueUnavailableError"]
    assert run.now.code == ""


def test_a_successor_does_not_wait_for_a_predecessor_that_is_gone(run: Run) -> None:
    run.ledger.publish(1, "00000003-0000001B-1")
    after = State()
    assert run.hold(after).code == "snapshot-lost"
    assert after.told == ["SnapshotLostError"]
    assert after.beats == 1
