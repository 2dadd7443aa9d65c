"""One registration that isn't valid stops nothing but what is done for its own database."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from coffre import wiring
from coffre.databases.registration import Registration, encode
from coffre.databases.registry import Registry
from coffre.errors import InvalidRegistrationError, RotationIncompleteError
from tests.conftest import ROOT
from tests.unit.rotate.conftest import World

PATH = "/coffre/local/databases"
CONTEXT: Any = SimpleNamespace(function_name="coffre", get_remaining_time_in_millis=lambda: 600_000)
ONE = Registration(secret="s", retention={"hourly": 0, "daily": 0, "weekly": 0, "monthly": 0, "keep_last": 1})  # type: ignore[arg-type]
BAD = {"cut": '{"secret":', "newer": '{"secret": "s", "what_a_later_version_knows": 1}'}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The databases `shop` and `weekly`, and two whose registrations can't be read."""
    with mock_aws():
        keys = {"region_name": "eu-west-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
        parameters: Any = boto3.client("ssm", **keys)
        valid = {"shop": ONE, "weekly": ONE.model_copy(update={"types": ["weekly"]})}
        texts = BAD | {name: encode(entry, name=name) for name, entry in valid.items()}
        for name, text in texts.items():
            parameters.put_parameter(Name=f"{PATH}/{name}", Value=text, Type="String")
        found = Registry(parameters, None, PATH)
        monkeypatch.setattr(wiring, "registry", lambda: found)
        yield found


def handle(verb: str, event: dict[str, Any]) -> dict[str, Any]:
    """What a function's own handler answers."""
    spec = importlib.util.spec_from_file_location(f"{verb}_app", ROOT / "functions" / verb / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answer: dict[str, Any] = module.handler(event, CONTEXT)
    return answer


def test_what_can_be_read_is_told_apart_from_what_cannot(registry: Registry) -> None:
    found = registry.all()
    assert list(found.valid) == ["shop", "weekly"]
    assert list(found.invalid) == ["cut", "newer"]
    assert "what_a_later_version_knows" in found.invalid["newer"].message
    for name, error in found.invalid.items():
        with pytest.raises(InvalidRegistrationError, match=name) as alone:
            registry.get(name)
        assert str(alone.value) == str(error)


def test_a_schedule_backs_up_the_others_and_each_bad_one_fails_by_itself(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(wiring, "client", lambda _: SimpleNamespace(invoke=lambda **how: sent.append(how)))
    monkeypatch.setattr(wiring, "backup_services", lambda: None)
    answer = handle("backup", {"type": "daily", "scheduled_time": "2026-11-20T02:30:00Z"})
    assert answer["started"] == ["shop"]
    assert list(answer["failed"]) == ["cut", "newer"]
    events = {payload["database"]: payload for payload in (json.loads(how["Payload"]) for how in sent)}
    assert list(events) == ["shop", "cut", "newer"]
    for name in BAD:
        with pytest.raises(InvalidRegistrationError, match=name):
            handle("backup", events[name])


def test_the_others_are_rotated_and_the_error_names_each_bad_one(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    monkeypatch.setattr(wiring, "rotate_services", lambda: world.services)
    old = world.backup(["old"])
    world.store.now += timedelta(days=1)
    world.backup(["new"])
    with pytest.raises(RotationIncompleteError, match=r"cut: .*newer: .*later_version_knows"):
        handle("rotate", {"dry_run": False})
    entry = world.catalogue.backup("shop", old.id)
    assert entry is not None
    assert entry.status == "deleted"
