"""Events: published whole, refused loudly, and without secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from coffre.errors import DiskFullError, EventNotPublishedError
from coffre.notify.publisher import Publisher, redact


class Bus:
    """EventBridge's client."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer
        self.entries: list[dict[str, str]] = []

    def put_events(self, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        self.entries += Entries
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_an_event_says_what_happened_in_which_stack() -> None:
    bus = Bus({"FailedEntryCount": 0})
    Publisher(bus, "default", "prod").publish("Proof Passed", {"database": "shop", "rows": 5})
    [entry] = bus.entries
    assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == (
        "coffre",
        "Proof Passed",
        "default",
    )
    assert json.loads(entry["Detail"]) == {"stack": "prod", "database": "shop", "rows": 5}


@pytest.mark.parametrize(
    "answer",
    [
        {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]},
        ClientError({"Error": {"Code": "AccessDenied"}}, "PutEvents"),
        EndpointConnectionError(endpoint_url="https://events"),
    ],
)
def test_an_event_that_was_not_taken_is_an_error(answer: Any) -> None:
    with pytest.raises(EventNotPublishedError, match="Proof Failed"):
        Publisher(Bus(answer), "default", "prod").publish("Proof Failed", {})


def test_a_failure_that_nobody_could_be_told_of_says_so_itself() -> None:
    deaf = Publisher(Bus(ClientError({"Error": {"Code": "AccessDenied"}}, "PutEvents")), "default", "prod")
    error = DiskFullError("no space is left")
    for kind in ("Restore Failed", "Drill Failed"):
        deaf.publish_failure(kind, {}, error)
    assert str(error).startswith("[disk-full] no space is left (alert not delivered: event 'Restore Failed'")
    assert str(error).count("alert not delivered") == 1
    heard = DiskFullError("no space is left")
    Publisher(Bus({"FailedEntryCount": 0}), "default", "prod").publish_failure("Backup Failed", {}, heard)
    assert "alert" not in str(heard)


@pytest.mark.parametrize(
    "text",
    [
        "could not connect to postgresql://me:s3cret@db:5432/shop",
        "postgresql://me:s3cret@x@db/shop?sslmode=require",
        "host=db password=s3cret user=me",
        "postgresql:///shop?host=/run&password=s3cret&user=me",
    ],
)
def test_a_password_in_a_message_is_blotted_out(text: str) -> None:
    """B17."""
    bus = Bus({})
    Publisher(bus, "default", "prod").publish("Backup Failed", {"message": text})
    detail = json.loads(bus.entries[0]["Detail"])
    assert "s3cret" not in detail["message"]
    assert "me" in detail["message"]


def test_ordinary_text_stays_as_it_is() -> None:
    text = '{"advice": "see https://docs.example.org/a:b and mail x@example.org", "key": "shop/chunks/ab"}'
    assert redact(text) == text
