"""What the clients of AWS's services are made with, and what is asked of a function for each database."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.utils import parse_timestamp

from coffre import wiring
from coffre.databases.registration import Registration
from coffre.databases.registry import Registered
from coffre.events.restore import DrillRequest
from coffre.events.restore_kinds import read
from coffre.wiring import parse_time

MOMENT = datetime(2026, 11, 20, 3, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "told",
    [
        "2026-11-20T03:00:01.000Z",
        "2026-11-20T03:00:01Z",
        "Fri, 20 Nov 2026 03:00:01 GMT",
        MOMENT.timestamp(),
        str(MOMENT.timestamp()),
    ],
)
def test_times_in_answers_are_what_botocore_makes_of_them(told: str | float) -> None:
    assert parse_time(told) == parse_timestamp(told) == MOMENT
    assert parse_time(told).utcoffset() == MOMENT.utcoffset()


def test_one_request_for_all_databases_becomes_one_for_each_that_says_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[dict[str, Any]] = []
    found = Registered({"a": Registration(secret="s", scratch="t"), "b": Registration(secret="s")})
    monkeypatch.setattr(wiring, "registry", lambda: SimpleNamespace(all=lambda: found))
    monkeypatch.setattr(wiring, "client", lambda _: SimpleNamespace(invoke=lambda **how: sent.append(how)))
    context: Any = SimpleNamespace(function_name="coffre-restore")
    request = DrillRequest.model_validate({"action": "drill", "exercise": True})
    answer = wiring.fan_out(context, request, lambda entry: entry.scratch is not None)
    assert answer.started == ["a"]
    (how,) = sent
    assert (how["FunctionName"], how["InvocationType"]) == ("coffre-restore", "Event")
    # What wasn't said stays unsaid: each database's registration decides it.
    assert json.loads(how["Payload"]) == {"action": "drill", "exercise": True, "database": "a"}
    asked = read(json.loads(how["Payload"]))
    assert asked.model_fields_set == {"action", "exercise", "database"}
