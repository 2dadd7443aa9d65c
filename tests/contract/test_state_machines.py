"""House rules of the state machines: what the linter of templates doesn't see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coffre.backup.hold import BLIND_SECONDS
from coffre.notify.machines import _NOT_RUN
from localcloud.documents import parse
from tests.conftest import ROOT

PATHS = sorted((ROOT / "statemachines").glob("*.asl.yaml"))
UNAVAILABLE = ["StoreUnavailableError", "CatalogueUnavailableError"]
LAMBDA = [f"Lambda.{name}Exception" for name in ("Service", "AWSLambda", "SdkClient", "TooManyRequests")]
ASLEEP = [
    f"Lambda.{name}Exception" for name in ("ResourceNotReady", "ENINotReady", "CodeArtifactUserPending")
]
NEEDS_COMMENT = ("Task", "Map", "Parallel", "Wait")


def machine(path: Path) -> dict[str, Any]:
    """A definition."""
    parsed: dict[str, Any] = parse(path.read_text())
    return parsed


def scopes(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A definition and all that are nested in it: their states see each other, and no others."""
    yield part
    for state in part["States"].values():
        for branch in [*state.get("Branches", []), *filter(None, [state.get("ItemProcessor")])]:
            yield from scopes(branch)


def followers(state: dict[str, Any]) -> Iterator[str]:
    """The states that a state may go to."""
    for place in (state, *state.get("Choices", []), *state.get("Catch", [])):
        yield from (place[key] for key in ("Next", "Default") if key in place)


@pytest.fixture(params=PATHS, ids=lambda path: path.name)
def whole(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each definition."""
    return machine(request.param)


def test_there_are_state_machines() -> None:
    assert [path.name for path in PATHS] == ["backup.asl.yaml", "restore.asl.yaml"]


def test_every_state_leads_to_one_that_exists_and_each_is_reached(whole: dict[str, Any]) -> None:
    for scope in scopes(whole):
        states, seen = scope["States"], set()
        ahead = [scope["StartAt"]]
        while ahead:
            name = ahead.pop()
            assert name in states, f"nothing is called {name!r}"
            if name not in seen:
                seen.add(name)
                ahead += followers(states[name])
        assert seen == set(states)


def test_every_state_goes_on_or_ends(whole: dict[str, Any]) -> None:
    for scope in scopes(whole):
        for name, state in scope["States"].items():
            if state["Type"] in ("Succeed", "Fail"):
                assert not list(followers(state)), name
            elif state["Type"] == "Choice":
                assert "Default" in state, f"{name} fails where no rule holds"
            else:
                assert ("Next" in state) != (state.get("End") is True), name


def test_whatever_fails_lets_go_of_snapshot_and_lease(whole: dict[str, Any]) -> None:
    """A branch's or a batch's failure is its Parallel's or its Map's."""
    giving_up = "Give up this attempt"
    for name, state in whole["States"].items():
        if state["Type"] in ("Task", "Parallel", "Map") and name != giving_up:
            (catch,) = state["Catch"]
            assert (catch["ErrorEquals"], catch["Next"]) == (["States.ALL"], giving_up), name
    retry = whole["States"][giving_up]["Retry"]
    assert retry[0]["ErrorEquals"] == ["States.ALL"]


def test_no_task_waits_without_end_and_each_is_tried_again(whole: dict[str, Any]) -> None:
    assert whole["TimeoutSeconds"] > 0
    for scope in scopes(whole):
        for name, state in scope["States"].items():
            if state["Type"] == "Task":
                assert 0 < state["TimeoutSeconds"] <= 1000, name
                assert state["Retry"][-1]["JitterStrategy"] == "FULL", name
                waits = state["Resource"].endswith(".waitForTaskToken")
                assert ("HeartbeatSeconds" in state) == waits, name


def longest_wait(state: dict[str, Any], error: str) -> float:
    """Seconds that a state gives what failed with an error, at most."""
    matching = (rule for rule in state["Retry"] if {error, "States.ALL"} & set(rule["ErrorEquals"]))
    rule = next(matching, {"MaxAttempts": 0})
    times = range(rule["MaxAttempts"])
    most = rule.get("MaxDelaySeconds", float("inf"))
    return sum(min(most, rule["IntervalSeconds"] * rule["BackoffRate"] ** time) for time in times)


def test_a_function_that_lambda_does_not_run_is_waited_for_and_a_worker_for_minutes(
    whole: dict[str, Any],
) -> None:
    """A worker's end is that of hours of reading, or of loading."""
    for scope in scopes(whole):
        is_map = "ProcessorConfig" in scope
        for name, state in scope["States"].items():
            if state["Type"] == "Task":
                for error in LAMBDA:
                    assert longest_wait(state, error) > (300 if is_map else 60), (name, error)


def test_a_holder_that_is_not_heard_of_has_successors_while_its_predecessor_holds_on() -> None:
    """That is ten minutes, and five of them are for a successor that waits for somebody's locks."""
    (left, _) = machine(ROOT / "statemachines/backup.asl.yaml")["States"]["Read under one snapshot"][
        "Branches"
    ]
    state = left["States"]["Hold the snapshot"]
    rule = state["Retry"][0]
    assert rule["ErrorEquals"] == ["States.HeartbeatTimeout"]
    assert rule["MaxAttempts"] >= 2
    silent = (rule["MaxAttempts"] + 1) * state["HeartbeatSeconds"]
    assert silent + longest_wait(state, "States.HeartbeatTimeout") < 300


def test_a_successor_that_finds_no_catalogue_is_started_again_while_its_predecessor_holds_on() -> None:
    (left, _) = machine(ROOT / "statemachines/backup.asl.yaml")["States"]["Read under one snapshot"][
        "Branches"
    ]
    assert longest_wait(left["States"]["Hold the snapshot"], "CatalogueUnavailableError") == 70


def test_a_holder_waits_for_the_catalogue_as_long_as_its_workers_do() -> None:
    found = patience(machine(ROOT / "statemachines/backup.asl.yaml"))
    assert found["Capture the batch"] < BLIND_SECONDS


def patience(definition: dict[str, Any]) -> dict[str, float]:
    """Seconds that states wait for a store or a table that is slow; by state."""
    found = {}
    for scope in scopes(definition):
        for name, state in scope["States"].items():
            for rule in state.get("Retry", []):
                if rule["ErrorEquals"] in (UNAVAILABLE, UNAVAILABLE + ASLEEP, ["States.ItemReaderFailed"]):
                    assert "JitterStrategy" not in rule, "the wait is a promise"
                    assert "MaxDelaySeconds" not in rule
                    times = range(rule["MaxAttempts"])
                    found[name] = sum(rule["IntervalSeconds"] * rule["BackoffRate"] ** time for time in times)
    return found


def test_what_rests_on_rows_that_were_read_waits_longer_than_a_minute_for_a_store_that_is_slow() -> None:
    """What comes before rows is a new attempt's."""
    found = patience(machine(ROOT / "statemachines/backup.asl.yaml"))
    names = ("Capture all batches", "Capture the batch", "Let the snapshot go", "Commit")
    assert found == dict.fromkeys(names, 70) | {"Capture the batch": 150}


def test_every_step_of_a_restore_waits_longer_than_a_minute_for_a_store_that_is_slow() -> None:
    definition = machine(ROOT / "statemachines/restore.asl.yaml")
    tasks = {
        name
        for scope in scopes(definition)
        for name, state in scope["States"].items()
        if state["Type"] == "Task" and name != "Give up this attempt"
    }
    assert len(tasks) > 8
    assert patience(definition) == dict.fromkeys(tasks, 150)


def test_a_function_that_nobody_has_called_for_weeks_is_given_two_minutes_to_wake_up() -> None:
    """Those of a restore, and the workers of a backup; its other functions are called for every backup.

    Sources: https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html (Inactive: the first call
    fails), https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html (errors)
    """
    restore, backup = (machine(ROOT / f"statemachines/{name}.asl.yaml") for name in ("restore", "backup"))
    asked = [*tasks_of(restore), *(one for one in tasks_of(backup) if one[0] == "Capture the batch")]
    assert len(asked) > 12
    for name, state in asked:
        for error in ASLEEP:
            assert name == "Give up this attempt" or longest_wait(state, error) > 120, (name, error)
        assert set(ASLEEP) <= _NOT_RUN


def tasks_of(definition: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The states that call a function, by name."""
    every = (pair for scope in scopes(definition) for pair in scope["States"].items())
    return [(name, state) for name, state in every if state["Type"] == "Task"]


def test_whoever_tells_the_world_waits_for_the_bus(whole: dict[str, Any]) -> None:
    """What is done can be done again, and is told then."""
    last = "Finish" if "Finish" in whole["States"] else "Commit"
    for name in (last, "Give up this attempt"):
        assert longest_wait(whole["States"][name], "EventNotPublishedError") > 60, name


def test_an_operator_can_read_the_graph(whole: dict[str, Any]) -> None:
    assert whole["Comment"]
    for scope in scopes(whole):
        for name, state in scope["States"].items():
            assert re.fullmatch(r"[A-Z][a-z ]+\??", name), name
            assert state["Type"] not in NEEDS_COMMENT or "Comment" in state or "SecondsPath" in state, name


def test_every_substitution_is_made_by_the_template(template: dict[str, Any]) -> None:
    made = {}
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::StateMachine":
            properties = resource["Properties"]
            made[properties["DefinitionUri"]] = set(properties["DefinitionSubstitutions"])
            assert properties["Logging"]["Level"] != "OFF"
            assert properties["Type"] == "STANDARD"
    wanted = {
        str(path.relative_to(ROOT)): set(re.findall(r"\$\{(\w+)\}", path.read_text())) for path in PATHS
    }
    assert made == wanted


def test_yaml_that_cloudformation_does_not_read_is_not_used() -> None:
    """Anchors and aliases."""
    for path in PATHS:
        lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
        assert not [line for line in lines if re.search(r"[:\s-] [&*]\w", line)]


def test_a_machine_that_fails_raises_an_alarm(resources: dict[str, dict[str, Any]]) -> None:
    machines = {n for n, r in resources.items() if r["Type"] == "AWS::StepFunctions::StateMachine"}
    watched: dict[str, set[str]] = {name: set() for name in machines}
    for resource in resources.values():
        for metric in resource.get("Properties", {}).get("Metrics", []):
            found = metric.get("MetricStat", {}).get("Metric", {})
            if found.get("Namespace") == "AWS/States":
                watched[found["Dimensions"][0]["Value"]["Ref"]].add(found["MetricName"])
    every = {"ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"}
    assert watched == dict.fromkeys(machines, every)
