"""A plan is confirmed once, as it was shown, within a quarter of an hour, and by nobody else's token."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from moto import mock_aws

from coffre.catalogue.entries import RestoreEntry
from coffre.catalogue.index import Catalogue
from coffre.catalogue.plans import GOOD
from coffre.errors import CoffreError, PlanChangedError, PlanExpiredError, PlanUnknownError, PlanUsedError
from tests.fakes.store import START
from tests.fakes.tables import create_table, dynamodb, send_updates_twice

TOKEN = "a token"


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
def catalogue(clock: Clock) -> Iterator[Catalogue]:
    """A catalogue with one plan."""
    with mock_aws():
        made = Catalogue(dynamodb(), create_table(dynamodb()), clock)
        made.plans("shop").offer(TOKEN, "digest")
        yield made


def refused(catalogue: Catalogue, database: str = "shop", token: str = TOKEN, digest: str = "digest") -> type:
    """The error that a confirmation meets."""
    with pytest.raises(CoffreError) as found:
        catalogue.plans(database).confirm(token, digest)
    return found.type


def test_a_plan_is_confirmed_once(catalogue: Catalogue) -> None:
    catalogue.plans("shop").confirm(TOKEN, "digest")
    assert refused(catalogue) is PlanUsedError
    assert refused(catalogue, digest="other") is PlanUsedError


def test_an_update_that_is_sent_again_because_its_answer_was_lost_confirms_the_plan(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_updates_twice(catalogue._table._client, monkeypatch, lambda: None)
    catalogue.plans("shop").confirm(TOKEN, "digest")
    assert refused(catalogue) is PlanUsedError


def test_another_plan_does_not_use_it_up(catalogue: Catalogue) -> None:
    assert refused(catalogue, digest="other") is PlanChangedError
    catalogue.plans("shop").confirm(TOKEN, "digest")


def test_a_foreign_token_confirms_nothing(catalogue: Catalogue) -> None:
    assert refused(catalogue, token="another") is PlanUnknownError
    assert refused(catalogue, database="app") is PlanUnknownError


def test_a_plan_expires(catalogue: Catalogue, clock: Clock) -> None:
    assert timedelta(minutes=15) == GOOD
    clock.now += GOOD
    assert refused(catalogue) is PlanExpiredError
    clock.now -= timedelta(microseconds=1)
    catalogue.plans("shop").confirm(TOKEN, "digest")


def test_the_history_is_kept_newest_first_for_each_database(catalogue: Catalogue) -> None:
    first = RestoreEntry(
        "shop", "2026-11-20T01:00:00.000000Z", "swap", "completed", kept_as="old", bytes=2**60
    )
    second = RestoreEntry("shop", "2026-11-20T02:00:00.000000Z", "new", "failed", error_code="disk-full")
    for entry in (second, first):
        catalogue.record_restore(entry)
    assert list(catalogue.restores("shop")) == [second, first]
    assert list(catalogue.restores("sho")) == []
