"""`coffre local`, and how the other commands find it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localcloud.control
from coffre_cli.local import project_template
from coffre_cli.stack import find_stack, state_folder
from localcloud import LocalCloudError
from tests.unit.cli.conftest import VERBS, Outcome

Run = Callable[..., Outcome]

INFO: dict[str, Any] = {
    "endpoint": "http://127.0.0.1:4566",
    "region": "us-east-1",
    "stack": "local",
    "bucket": "vault",
    "table": "catalogue",
    "functions": {"BackupFunction": "local-backup"},
    "schedules": {"local-backup-daily": {}, "local-health": {}},
    "outputs": {
        "Bucket": "vault",
        "Table": "catalogue",
        "Registrations": "/coffre/local/databases",
        "Secrets": "coffre/local",
        **{verb.capitalize(): f"local-{verb}" for verb in VERBS},
    },
    "pid": 1,
    "failures": [],
    "under_way": 0,
}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A local cloud that runs, and what it is told to fire."""
    monkeypatch.delenv("COFFRE_STACK", raising=False)
    monkeypatch.setenv("COFFRE_HOME", str(tmp_path))
    told: dict[str, Any] = {}

    def fire(state: Path, name: str) -> dict[str, Any]:
        told[str(state)] = name
        return {"schedule": name, "scheduled_time": "2026-11-20T03:00:00Z", "target": "local-backup"}

    monkeypatch.setattr(localcloud.control, "status", lambda _: INFO)
    monkeypatch.setattr(localcloud.control, "fire", fire)
    return told


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A state folder in which nothing runs."""
    monkeypatch.setenv("COFFRE_HOME", str(tmp_path))


def test_status_says_where_it_is(cloud: dict[str, Any], run: Run) -> None:
    document = run("local", "status", "--json").document
    assert {"endpoint", "bucket", "table"} <= set(document)
    assert "http://127.0.0.1:4566" in run("local", "status").out


def test_failed_deliveries_are_shown(
    cloud: dict[str, Any], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = {"time": "now", "kind": "rule", "target": "local-verify", "reason": "it broke", "event": "{}"}
    monkeypatch.setattr(localcloud.control, "status", lambda _: {**INFO, "failures": [failure]})
    assert "it broke" in run("local", "status").out


def test_without_one_status_and_fire_say_how_to_start_it(nothing: None, run: Run) -> None:
    for arguments in (["status"], ["fire", "backup-daily"]):
        outcome = run("local", *arguments)
        assert outcome.code == 1
        assert "coffre local up" in outcome.err


def test_down_without_one_is_fine(nothing: None, run: Run) -> None:
    outcome = run("local", "down", "--json")
    assert (outcome.code, outcome.document) == (0, {"stopped": False})


@pytest.mark.parametrize("name", ["backup-daily", "local-backup-daily"])
def test_a_schedule_has_a_short_name(cloud: dict[str, Any], run: Run, name: str) -> None:
    assert run("local", "fire", name).code == 0
    assert list(cloud.values()) == ["local-backup-daily"]


def test_an_unknown_schedule_lists_those_that_exist(cloud: dict[str, Any], run: Run) -> None:
    outcome = run("local", "fire", "backup-yearly", "--json")
    assert outcome.code == 2
    assert outcome.document["error"]["advice"] == "There are: backup-daily, health."


def test_up_gives_the_reason_when_it_cannot_start(
    nothing: None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object) -> None:
        raise LocalCloudError("can't listen on port 80: permission denied; choose another one")

    monkeypatch.setattr(localcloud.control, "start_detached", taken)
    outcome = run("local", "up", "--detach", "--port", "80", "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (1, "local-cloud")
    assert "port 80" in outcome.document["error"]["message"]


def test_up_in_the_foreground_takes_it_down_at_ctrl_c(
    nothing: None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_down: list[Path] = []

    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(localcloud.control, "start_detached", lambda *_: INFO)
    monkeypatch.setattr(localcloud.control, "status", interrupted)
    monkeypatch.setattr(localcloud.control, "down", taken_down.append)
    assert run("local", "up").code == 0
    assert len(taken_down) == 1


def test_commands_talk_to_the_local_cloud_alone(
    cloud: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    client = find_stack(None, None).client("s3")
    assert client.meta.endpoint_url == INFO["endpoint"]
    assert client._request_signer._credentials.access_key == "local"
    assert client._endpoint.http_session._proxy_config.proxy_url_for(INFO["endpoint"]) is None


def test_the_nearest_state_is_found_upward(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("COFFRE_HOME", raising=False)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert state_folder() == below / ".coffre"
    (tmp_path / ".coffre").mkdir()
    (tmp_path / ".coffre" / "local.json").write_text("{}")
    assert state_folder() == tmp_path / ".coffre"
    monkeypatch.setenv("COFFRE_HOME", str(tmp_path / "elsewhere"))
    assert state_folder() == tmp_path / "elsewhere"


def test_the_template_is_the_project_s_own_wherever_the_command_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert project_template().is_file()
    assert project_template().samefile(Path(__file__).parents[3] / "template.yaml")
