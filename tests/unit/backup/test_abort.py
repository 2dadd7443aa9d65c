"""An attempt that failed lets go of everything, and is told once, whoever ends it and however often."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from coffre.backup.abort import DEPLOYMENT, TRIES, abort, caught, clean_up
from coffre.backup.job import Services
from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.tools import Tools
from coffre.errors import StoreUnavailableError
from coffre.events.backup import MachineEnded, MachineRun
from coffre.ids import utc_now
from coffre.notify.publisher import Publisher
from coffre.vault.keys import SealKeys
from coffre.vault.layout import Layout
from coffre.workers import WorkerPool
from tests.fakes.dynamodb import MemoryEvents
from tests.fakes.kms import MemoryKms
from tests.fakes.store import FailingStore
from tests.fakes.tables import TABLE, create_table
from tests.support.versions import OTHERS, begun_by_another

BACKUP = "20261120T030000Z-daily-1f09ab"
ENDED = MachineEnded(
    database="shop",
    backup_id=BACKUP,
    type="daily",
    scheduled_time=datetime(2026, 11, 20, 3, tzinfo=UTC),
    execution="arn:aws:states:eu-west-1:123456789012:execution:coffre-backup:one",
    status="ABORTED",
)
RUN = ENDED.attempt(1)
LOST = {"Error": "SnapshotLostError", "Cause": "[snapshot-lost] the holder is gone"}


def no_workers(*_: object) -> WorkerPool:
    """Nothing that ends a run starts workers."""
    raise AssertionError


class World:
    """What an end works with, and what is seen of it."""

    def __init__(self, client: object) -> None:
        self.store, self.bus = FailingStore(), MemoryEvents()
        self.catalogue = Catalogue(client, TABLE)
        self.services = Services(
            store=self.store,
            keys=SealKeys(lambda _: MemoryKms()),
            catalogue=self.catalogue,
            publisher=Publisher(self.bus, "default", "test"),
            tools=Tools(Path("nowhere")),
            scratch=Path("nowhere"),
            max_run_seconds=3600,
            start_workers=no_workers,
        )

    def begin(self, run: MachineRun = RUN) -> None:
        """As far as `prepare` comes."""
        deadline = utc_now() + timedelta(hours=1)
        self.catalogue.acquire("shop", run.attempt, deadline)
        self.catalogue.start_run("shop", "backup", run.attempt, deadline)
        self.catalogue.begin("shop", BACKUP, "daily", utc_now())
        self.catalogue.ledger("shop", run.attempt).open(BACKUP, deadline, version=1, pause=7)

    @property
    def told(self) -> list[str]:
        """The codes of all failures that were published."""
        return [json.loads(entry["Detail"])["code"] for entry in self.bus.entries]

    @property
    def ended(self) -> tuple[str, str | None, bool]:
        """The backup's status and error, and whether nothing holds the database."""
        entry = self.catalogue.backup("shop", BACKUP)
        free = self.catalogue.lease("shop") is None and not list(self.catalogue.live_runs("shop"))
        return (entry.status, entry.error_code, free) if entry else ("unknown", None, free)


@pytest.fixture
def world() -> Iterator[World]:
    """An empty one."""
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-west-1")
        create_table(client)
        yield World(client)


def test_what_another_attempt_may_cure_is_tried_again_and_not_told_yet(world: World) -> None:
    world.begin()
    answer = abort(world.services, RUN, LOST)
    assert (answer.go, answer.wait) == (True, 7)
    assert world.ended == ("in_progress", None, True)
    assert not world.told


def test_the_last_attempt_and_what_no_attempt_cures_is_told_once(world: World) -> None:
    for run, error in ((ENDED.attempt(TRIES), LOST), (RUN, {"Error": "X", "Cause": "[table-changed] t"})):
        world.begin(run)
        assert not abort(world.services, run, error).go
        assert not abort(world.services, run, error).go
    assert world.told == ["snapshot-lost", "table-changed"]
    assert world.ended == ("failed", "table-changed", True)


def test_whoever_could_not_begin_leaves_the_run_that_goes_on_alone(world: World) -> None:
    world.begin()
    other = ENDED.model_copy(update={"execution": "arn:two"}).attempt(1)
    abort(world.services, other, {"Error": "LeaseHeldError", "Cause": "[lease-held] somebody works"})
    assert world.told == ["lease-held"]
    assert world.ended == ("in_progress", None, False)


def test_an_attempt_that_somebody_else_came_before_is_told_and_leaves_nothing_that_seems_to_go_on(
    world: World,
) -> None:
    """Between two attempts the lease is free, and the next scheduled backup takes it."""
    world.begin()
    assert abort(world.services, RUN, LOST).go
    world.catalogue.acquire("shop", "another", utc_now() + timedelta(hours=1))
    held = {"Error": "LeaseHeldError", "Cause": "[lease-held] run another works on shop"}
    assert not abort(world.services, ENDED.attempt(2), held).go
    assert world.told == ["lease-held"]
    assert world.ended[:2] == ("failed", "lease-held")
    lease = world.catalogue.lease("shop")
    assert lease is not None
    assert lease.holder == "another"


def test_a_backup_that_exists_has_not_failed(world: World) -> None:
    world.begin()
    world.store.put(Layout("shop").manifest(BACKUP), b"{}")
    assert not abort(world.services, RUN, LOST).go
    assert not world.told
    assert world.ended[2]


UNTOLD = {
    "Error": "States.ExceedToleratedFailureThreshold",
    "Cause": "The specified tolerated failure threshold was exceeded",
}


def test_workers_that_lambda_did_not_run_are_worth_another_attempt(world: World) -> None:
    """They could say nothing: the machine knows that a batch failed, and not why."""
    world.begin()
    assert abort(world.services, RUN, UNTOLD).go
    world.begin(ENDED.attempt(2))
    world.catalogue.ledger("shop", ENDED.attempt(2).attempt).tell_batch("000001", "table-changed", "public.t")
    assert not abort(world.services, ENDED.attempt(2), UNTOLD).go
    assert world.told == ["table-changed"]


GONE = {"Error": "SourceUnreachableError", "Cause": "[source-unreachable] connection refused"}
SLOW = {"Error": "StoreUnavailableError", "Cause": "[store-unavailable] the store answered 503 SlowDown"}


def test_a_source_that_was_there_is_given_time_to_come_back(world: World) -> None:
    """It restarts, or another server takes over.  One that never answered doesn't."""
    world.begin()
    assert not abort(world.services, RUN, GONE).go
    assert world.told == ["source-unreachable"]
    world.begin(ENDED.attempt(2))
    assert abort(world.services, ENDED.attempt(2), GONE).go
    other = ENDED.model_copy(update={"execution": "arn:two"}).attempt(1)
    world.begin(other)
    world.catalogue.ledger("shop", other.attempt).publish(1, "a snapshot")
    assert abort(world.services, other, GONE).go


def test_a_store_that_does_not_answer_keeps_no_lease_and_hides_no_failure(world: World) -> None:
    world.store.fail("head", StoreUnavailableError("the store answered 503"))
    for tries in range(1, TRIES + 1):
        run = ENDED.attempt(tries)
        if tries == 1:  # the others don't even begin
            world.begin(run)
        assert abort(world.services, run, SLOW).go == (tries < TRIES)
        assert world.catalogue.lease("shop") is None
    assert world.ended == ("failed", "store-unavailable", True)
    assert world.told == ["store-unavailable"]


OTHER = {"Error": "RunOfAnotherVersionError", "Cause": "[run-of-another-version] it was deployed"}


@pytest.mark.parametrize("version", OTHERS.values(), ids=OTHERS.keys())
def test_what_another_version_began_is_ended_and_begun_anew_after_the_deployment(
    world: World, version: int | None
) -> None:
    world.begin()
    begun_by_another(world.catalogue.ledger("shop", RUN.attempt), version)
    answer = abort(world.services, RUN, OTHER)
    assert (answer.go, answer.wait) == (True, DEPLOYMENT)
    assert world.ended == ("in_progress", None, True)
    world.begin(ENDED.attempt(TRIES))
    assert not abort(world.services, ENDED.attempt(TRIES), OTHER).go
    assert world.ended == ("failed", "run-of-another-version", True)
    assert world.told == ["run-of-another-version"]


def test_an_execution_that_was_stopped_is_ended_in_its_attempt_or_between_two(world: World) -> None:
    world.begin()
    clean_up(world.services, ENDED)
    assert world.ended == ("failed", "backup-stopped", True)
    world.begin(ENDED.attempt(2))
    assert abort(world.services, ENDED.attempt(2), LOST).go
    clean_up(world.services, ENDED)
    assert world.ended == ("failed", "backup-stopped", True)
    clean_up(world.services, ENDED)
    assert world.told == ["backup-stopped"] * 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"Error": "X", "Cause": json.dumps({"errorMessage": "[table-changed] public.t"})}, "table-changed"),
        ({"Error": "X", "Cause": json.dumps({"errorMessage": "[table-changed] a, b"})[:34]}, "table-changed"),
        ({"Error": "States.HeartbeatTimeout"}, "snapshot-lost"),
        ({"Error": "Sandbox.Timedout", "Cause": '{"errorMessage": "Task timed out"}'}, "function-failed"),
        ({"Error": "Lambda.TooManyRequestsException", "Cause": "Rate Exceeded."}, "function-unavailable"),
        (UNTOLD, "function-unavailable"),
        ({"Error": "States.ItemReaderFailed", "Cause": "Service Unavailable (503)"}, "store-unavailable"),
        (None, "function-failed"),
    ],
)
def test_the_code_of_what_the_machine_caught(error: dict[str, str] | None, code: str) -> None:
    assert caught(error)[0] == code
