"""Events reach their targets in AWS's shape; what fails surfaces."""

import json
from datetime import datetime
from typing import Any

from tests.support.waiting import PATIENCE_SECONDS


def test_an_object_whose_key_matches_starts_the_function_with_the_event_of_aws(desk: Any) -> None:
    bucket = desk.cloud.bucket
    desk.s3.put_object(Bucket=bucket, Key="db/other.json", Body=b"{}")
    put = desk.s3.put_object(Bucket=bucket, Key="db/a b+ü/manifest.json", Body=b"{ }")
    assert desk.cloud.drain(PATIENCE_SECONDS)
    (received,) = desk.messages("Received")
    event = received["event"]
    assert (event["source"], event["detail-type"]) == ("aws.s3", "Object Created")
    assert event["resources"] == [f"arn:aws:s3:::{bucket}"]
    datetime.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007
    detail = event["detail"]
    assert detail["bucket"] == {"name": bucket}
    assert detail["reason"] == "PutObject"
    thing = detail["object"]
    assert thing.pop("sequencer")
    assert thing == {
        "key": "db/a b+ü/manifest.json",
        "size": 3,
        "etag": put["ETag"].strip('"'),
        "version-id": put["VersionId"],
    }


def test_a_failing_asynchronous_event_is_tried_three_times_then_goes_to_its_destinations(desk: Any) -> None:
    before = len(desk.cloud.failures)
    desk.send("EchoFunction", {"do": "raise", "mark": 7})
    assert desk.cloud.drain(PATIENCE_SECONDS)
    (record,) = desk.messages("Failed")
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"] == {"do": "raise", "mark": 7}
    assert record["responsePayload"]["errorType"] == "ValueError"
    assert desk.messages("Dead") == [{"do": "raise", "mark": 7}]
    request = record["requestContext"]["requestId"]
    log = (desk.cloud.state / "logs" / "EchoFunction.log").read_text()
    assert log.count(f"START RequestId: {request}") == 3
    (failure,) = desk.cloud.failures[before:]
    assert (failure.kind, failure.target) == ("invocation", desk.cloud.functions["EchoFunction"])
    assert "as asked" in failure.reason
    assert failure.as_dict() in desk.cloud.status()["failures"]


def test_a_rule_reaches_its_queue_and_a_target_that_does_not_exist_is_a_failure(desk: Any) -> None:
    before = len(desk.cloud.failures)
    entry = {"Source": "fixture", "DetailType": "Said", "Detail": json.dumps({"word": "hello"})}
    answer = desk.cloud.client("events").put_events(Entries=[entry])
    assert desk.cloud.drain(PATIENCE_SECONDS)
    (event,) = desk.messages("Received")
    assert event["id"] == answer["Entries"][0]["EventId"]
    assert event["detail"] == {"word": "hello"}
    assert set(event) == {
        "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
    }  # fmt: skip
    assert event["time"].endswith("Z")
    (failure,) = desk.cloud.failures[before:]
    assert failure.kind == "delivery"
    assert failure.target.endswith(":function:nobody")


def test_a_queue_gets_events_in_the_order_in_which_they_were_published(desk: Any) -> None:
    numbers = list(range(60))
    for start in numbers[::10]:
        entries = [
            {"Source": "fixture", "DetailType": "Said", "Detail": json.dumps({"number": number})}
            for number in numbers[start : start + 10]
        ]
        desk.cloud.client("events").put_events(Entries=entries)
    assert desk.cloud.drain(PATIENCE_SECONDS)
    assert [event["detail"]["number"] for event in desk.messages("Received")] == numbers


def test_a_schedule_is_fired_by_hand_with_its_input(desk: Any) -> None:
    schedule = desk.cloud.schedules["local-nightly"]
    assert (schedule["expression"], schedule["timezone"]) == ("cron(0 3 * * ? *)", "Europe/Paris")
    fired = desk.cloud.fire("local-nightly", "2026-11-20T03:00:00Z")
    assert desk.cloud.drain(PATIENCE_SECONDS)
    (received,) = desk.messages("Received")
    assert received["event"] == {
        "do": "report",
        "scheduled_time": "2026-11-20T03:00:00Z",
        "id": fired["execution_id"],
    }
