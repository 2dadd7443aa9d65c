"""The payloads in ``events/`` are what the functions take, and the rule fires for them and no others."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from moto.events.models import EventPattern

from coffre.errors import InvalidEventError, RunOfAnotherVersionError
from coffre.events.backup import (
    BackupRequest,
    CaptureRequest,
    HolderRequest,
    MachineEnded,
    PlanRequest,
    StepRequest,
)
from coffre.events.base import Event, parse, parse_step
from coffre.events.health import HealthRequest, ProbeRequest
from coffre.events.report import ExerciseEvent, LoadTestEnded, ReportRequest
from coffre.events.restore import DrillRequest, RestoreRequest
from coffre.events.restore_machine import LoadRequest, RestoreEnded, RestoreStepRequest, ResumeRequest
from coffre.events.rotate import HoldRequest, RotateRequest
from coffre.events.verify import CopyRequest, ProveRequest, RecheckRequest, VerifyRequest


def backup_event(event: dict[str, Any]) -> Event:
    """What the backup function makes of an event."""
    if event.get("source") == "aws.states":
        return MachineEnded.from_event(event)
    if "step" in event:
        return parse_step(StepRequest, event)
    return parse(PlanRequest if "action" in event else BackupRequest, event)


def report_event(event: dict[str, Any]) -> Event:
    """What the report function makes of an event."""
    if "detail" in event:
        return ExerciseEvent.from_event(event)
    return parse(LoadTestEnded if "action" in event else ReportRequest, event)


def restore_event(event: dict[str, Any]) -> Event:
    """What the restore function makes of an event."""
    if event.get("source") == "aws.states":
        return RestoreEnded.from_event(event)
    if "step" in event:
        return parse_step(RestoreStepRequest, event)
    kinds: dict[str, type[Event]] = {"drill": DrillRequest, "resume": ResumeRequest}
    return parse(kinds.get(event["action"], RestoreRequest), event)


EVENTS = Path(__file__).parents[2] / "events"
PARSERS: dict[str, Callable[[Any], Event]] = {
    "backup": backup_event,
    "hold": lambda event: parse_step(HolderRequest, event),
    "capture": lambda event: parse_step(CaptureRequest, event),
    "load": lambda event: parse_step(LoadRequest, event),
    "verify": lambda event: (
        parse(CopyRequest if event["action"] == "copy" else RecheckRequest, event)
        if "action" in event
        else VerifyRequest.from_event(event)
    ),
    "prove": lambda event: parse(ProveRequest, event),
    "restore": restore_event,
    "rotate": lambda event: parse(HoldRequest if "action" in event else RotateRequest, event),
    "report": report_event,
    "health": lambda event: parse(ProbeRequest if "action" in event else HealthRequest, event),
}
PAYLOADS = sorted(str(path.relative_to(EVENTS)) for path in EVENTS.glob("*/*.json"))


def load(name: str) -> dict[str, Any]:
    """The payload ``events/<name>``."""
    payload: dict[str, Any] = json.loads((EVENTS / name).read_text())
    return payload


@pytest.fixture
def fires(resources: dict[str, dict[str, Any]]) -> Callable[[dict[str, Any]], bool]:
    """Whether the rule that starts verify fires for an event."""
    pattern = copy.deepcopy(resources["VerifyFunctionManifestCreated"]["Properties"]["EventPattern"])
    created = load("verify/manifest-created.json")
    assert pattern["detail"]["bucket"]["name"] == [{"Ref": "Vault"}]
    pattern["detail"]["bucket"]["name"] = [created["detail"]["bucket"]["name"]]
    rule = EventPattern.load(json.dumps(pattern))

    def matches(event: dict[str, Any]) -> bool:
        return rule.matches_event(event)  # type: ignore[arg-type]

    return matches


def changed(**detail: Any) -> dict[str, Any]:
    """The event of a new manifest with parts of its detail replaced."""
    event = load("verify/manifest-created.json")
    event["detail"] = {**event["detail"], **detail}
    return event


@pytest.mark.parametrize("payload", PAYLOADS)
def test_every_payload_is_accepted_by_its_function(payload: str) -> None:
    PARSERS[payload.split("/", maxsplit=1)[0]](load(payload))


def widened(event: Any) -> Any:
    """The same, with a field more wherever there are some: as a later version's definition would hand it."""
    if isinstance(event, dict):
        return {**{name: widened(value) for name, value in event.items()}, "later": 1}
    return event


@pytest.mark.parametrize("payload", ["backup/step-prepare.json", "hold/hold.json", "capture/batch.json"])
def test_a_step_that_another_version_asks_for_is_refused_as_such(payload: str) -> None:
    """The state machine goes on as it began, whatever is deployed meanwhile, or taken back."""
    with pytest.raises(RunOfAnotherVersionError, match="later"):
        PARSERS[payload.split("/", maxsplit=1)[0]](widened(load(payload)))


@pytest.mark.parametrize("function", ["backup", "restore"])
def test_what_another_version_began_is_ended_all_the_same(function: str) -> None:
    parsed, abort = PARSERS[function], load(f"{function}/step-abort.json")
    assert parsed(widened(abort)) == parsed({**abort, "error": widened(abort["error"])})
    stopped = load(f"{function}/machine-stopped.json")
    given = json.dumps(widened(json.loads(stopped["detail"]["input"])))
    assert parsed({**stopped, "detail": {**stopped["detail"], "input": given}}) == parsed(stopped)


def test_every_function_has_a_payload_to_try() -> None:
    assert {payload.split("/")[0] for payload in PAYLOADS} == set(PARSERS)


@pytest.mark.parametrize("field", [{"exceptions": "accept"}, {"roles": "mine"}, {"backup": "latest"}])
def test_an_undo_takes_nothing_that_it_would_ignore(field: dict[str, str]) -> None:
    undo = {"action": "plan", "mode": "undo", "database": "shop"}
    parse(RestoreRequest, undo)
    with pytest.raises(InvalidEventError, match="undo"):
        parse(RestoreRequest, {**undo, **field})


@pytest.mark.parametrize(
    "field",
    [
        {"tables": []},
        {"mode": "swap"},
        {"roles": "mine"},
        {"role_map": {"a": "b"}},
        {"into": "pg_x"},
        {"into": ""},
    ],
)
def test_a_restore_of_tables_takes_nothing_that_it_would_ignore(field: dict[str, Any]) -> None:
    tables = load("restore/plan-tables.json")
    parse(RestoreRequest, {**tables, "exceptions": "accept"})
    with pytest.raises(InvalidEventError, match=r"tables|roles|schema"):
        parse(RestoreRequest, {**tables, **field})


def test_a_new_manifest_names_its_backup() -> None:
    from_s3 = VerifyRequest.from_event(load("verify/manifest-created.json"))
    asked = VerifyRequest.from_event(load("verify/by-id.json"))
    assert from_s3 == asked.model_copy(update={"once_a_day": True}), "whoever asks gets a proof"


def test_the_rule_fires_for_a_new_manifest(fires: Callable[[dict[str, Any]], bool]) -> None:
    assert fires(load("verify/manifest-created.json"))


@pytest.mark.parametrize("payload", [p for p in PAYLOADS if p != "verify/manifest-created.json"])
def test_the_rule_ignores_every_other_payload(fires: Callable[[dict[str, Any]], bool], payload: str) -> None:
    assert not fires(load(payload))


@pytest.mark.parametrize(
    "key",
    [
        "shop/chunks/5f/5f0c",
        "shop/proofs/20261120T023000Z-daily-1f09ab/20261120T024000Z.json",
        "shop/backups/20261120T023000Z-daily-1f09ab/manifest.json.part",
        "shop/backups/20261120T023000Z-daily-1f09ab/notes/20261121T000000Z-pin.json",
        "_tickets/20261120T023000Z-daily-1f09ab-5b1c0e7f93aa.json",
    ],
)
def test_the_rule_ignores_other_objects(fires: Callable[[dict[str, Any]], bool], key: str) -> None:
    assert not fires(changed(object={"key": key}))


def test_the_rule_ignores_other_buckets_and_deletions(fires: Callable[[dict[str, Any]], bool]) -> None:
    assert not fires(changed(bucket={"name": "somebody-elses"}))
    assert not fires({**load("verify/manifest-created.json"), "detail-type": "Object Deleted"})
