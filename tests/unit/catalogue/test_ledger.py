"""The ledger: what is repeated, doubled or late changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import boto3
import pytest
from moto import mock_aws

from coffre.catalogue.index import Catalogue
from coffre.catalogue.ledger import BatchRecord, Ledger
from coffre.ids import utc_now
from tests.fakes.tables import TABLE, create_table, send_updates_twice

RECORD = BatchRecord("000001", "{}", 1, 10, 100, "ff", 1, 50, size=1000, milliseconds=20)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """One that was begun."""
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-west-1")
        create_table(client)
        begun = Catalogue(client, TABLE).ledger("shop", "0123456789ab")
        assert begun.open("20261120T030000Z-daily-1f09ab", utc_now() + timedelta(hours=1), version=1, pause=2)
        yield begun


def test_an_attempt_begins_once(ledger: Ledger) -> None:
    assert not ledger.open("20261120T030000Z-daily-1f09ab", utc_now(), version=1, pause=2)


def test_of_two_holders_with_one_number_only_one_publishes(ledger: Ledger) -> None:
    assert ledger.publish(1, "first")
    assert not ledger.publish(1, "second")
    assert ledger.publish(2, "third")
    assert not ledger.publish(2, "fourth")
    state = ledger.read()
    assert state is not None
    assert (state.holder, state.snapshot) == (2, "third")


def test_of_two_plans_the_first_one_counts(ledger: Ledger) -> None:
    """Their batches may be cut at different places."""
    assert ledger.planned("first", batches=3, total=30)
    assert not ledger.planned("second", batches=4, total=31)
    state = ledger.read()
    assert state is not None
    assert (state.plan, state.batches, state.total) == ("first", 3, 30)


def test_a_holder_whose_answer_was_lost_has_published(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_updates_twice(ledger._table._client, monkeypatch, lambda: None)
    assert ledger.publish(1, "first")
    assert not ledger.publish(1, "second")
    assert ledger.publish(2, "third")
    assert ledger.fail()
    assert not ledger.fail()


def test_what_is_sent_again_too_late_overwrites_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_updates_twice(ledger._table._client, monkeypatch, lambda: ledger.publish(2, "later"))
    assert not ledger.publish(1, "first")
    state = ledger.read()
    assert state is not None
    assert (state.holder, state.snapshot) == (2, "later")


def test_a_batch_that_is_captured_twice_counts_once(ledger: Ledger) -> None:
    assert ledger.finish(RECORD) == RECORD
    assert ledger.finish(replace(RECORD, rows=11, part="other")) == RECORD
    state = ledger.read()
    assert state is not None
    assert (state.batches_done, state.done, state.rows) == (1, 1000, 10)
    assert list(ledger.batches()) == [RECORD]


def test_a_batch_with_a_rest_is_not_done_yet(ledger: Ledger) -> None:
    ledger.finish(replace(RECORD, rest="000001-2-abcdef"))
    ledger.finish(replace(RECORD, name="000001-2-abcdef"))
    state = ledger.read()
    assert state is not None
    assert (state.batches_done, state.rows) == (1, 20)


def test_the_cause_is_a_holders_or_that_of_a_batch_that_was_not_captured_after_all(ledger: Ledger) -> None:
    assert ledger.fault() is None
    ledger.tell_batch("000001", "store-unavailable", "once")
    ledger.tell_batch("000002", "row-count-mismatch", "for good")
    ledger.finish(RECORD)
    assert ledger.fault() == ("row-count-mismatch", "for good")
    ledger.tell("waiters-present", "somebody waits")
    ledger.tell("snapshot-lost", "and then")
    assert ledger.fault() == ("waiters-present", "somebody waits")


def test_what_has_ended_stays_as_it_ended(ledger: Ledger) -> None:
    assert ledger.fail()
    assert not ledger.fail()
    assert not ledger.publish(1, "late")
    assert not ledger.moving()
    assert not ledger.end("open", "released")


def test_a_run_that_was_not_begun_has_no_ledger_whatever_is_told(ledger: Ledger) -> None:
    other = Ledger(ledger._table, "shop", "ba9876543210", utc_now)
    assert not other.tell("snapshot-lost", "who?")
    assert not other.fail()
    assert other.read() is None


def test_a_restore_that_failed_begins_again_once_and_forgets_its_fault(ledger: Ledger) -> None:
    later = utc_now() + timedelta(hours=2)
    assert not ledger.open_again(later)
    ledger.tell("disk-full", "no room")
    assert ledger.fail()
    assert ledger.open_again(later)
    assert not ledger.open_again(later)
    state = ledger.read()
    assert state is not None
    assert (state.state, state.tries, state.code) == ("open", 2, "")
    assert ledger.fail()
    assert ledger.open_again(later)
    state = ledger.read()
    assert state is not None
    assert state.tries == 3


def test_an_item_that_is_done_twice_counts_once_and_clears_what_it_said_before(ledger: Ledger) -> None:
    assert ledger.enter("rows", batches=2, total=100)
    ledger.tell_batch("1-rows-000001", "connection-lost", "gone")
    assert ledger.fault() == ("connection-lost", "gone")
    for _ in range(2):
        ledger.settle("1-rows-000001")
    ledger.add(rows=3, done=40)
    ledger.add(rows=4, done=60)
    state = ledger.read()
    assert state is not None
    assert (state.batches_done, state.rows, state.done, state.total) == (1, 7, 100, 100)
    assert ledger.fault() is None
    assert ledger.enter("digests", batches=9)
    state = ledger.read()
    assert state is not None
    assert (state.phase, state.batches, state.batches_done, state.total) == ("digests", 9, 0, 100)


def test_what_came_out_is_kept_and_nothing_of_a_restore_that_ended_changes(ledger: Ledger) -> None:
    assert ledger.keep("so far")
    assert ledger.conclude("all")
    assert not ledger.conclude("something else")
    assert not ledger.keep("something else")
    assert not ledger.enter("rows", batches=1)
    state = ledger.read()
    assert state is not None
    assert (state.state, state.result) == ("committed", "all")
