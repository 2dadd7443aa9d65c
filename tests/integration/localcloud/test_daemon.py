"""The local cloud as a process of its own, handled from another one."""

import json
import socket
from pathlib import Path
from typing import Any

import boto3
import pytest

import localcloud
from localcloud.processes import is_alive
from tests.support.waiting import PATIENCE_SECONDS

TEMPLATE = Path(__file__).parent / "fixture" / "template.yaml"


def test_up_status_fire_down_from_another_process(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert localcloud.status(state) is None
    info = localcloud.start_detached(TEMPLATE, state)
    try:
        assert json.loads((state / "local.json").read_text()) == info
        status = localcloud.status(state)
        assert status is not None
        assert status["endpoint"] == info["endpoint"]
        assert status["failures"] == []
        with pytest.raises(localcloud.LocalCloudError, match="already"):
            localcloud.start_detached(TEMPLATE, state)
        function = _process(info)
        localcloud.fire(state, "local-nightly", "2026-11-20T03:00:00Z")
        with pytest.raises(localcloud.UnknownScheduleError):
            localcloud.fire(state, "nobody's")
        assert localcloud.drain(state, PATIENCE_SECONDS)
        assert localcloud.failures(state) == []
        assert "echo got report" in (state / "logs" / "EchoFunction.log").read_text()
    finally:
        assert localcloud.down(state)
    assert not (state / "local.json").exists()
    assert not is_alive(info["pid"])
    assert not is_alive(function)
    assert not localcloud.down(state)


def test_a_template_that_cannot_be_deployed_is_reported_by_the_starter(tmp_path: Path) -> None:
    with pytest.raises(localcloud.LocalCloudError, match=r"absent\.yaml: No such file"):
        localcloud.start_detached(tmp_path / "absent.yaml", tmp_path / "state")


def test_a_port_that_is_taken_is_reported_by_the_starter(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(localcloud.LocalCloudError, match=f"can't listen on port {port}"):
            localcloud.start_detached(TEMPLATE, tmp_path / "state", port)


def _process(info: dict[str, Any]) -> int:
    """Process id of a warm function."""
    functions = boto3.client(
        "lambda",
        endpoint_url=info["endpoint"],
        region_name=info["region"],
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    name = info["functions"]["EchoFunction"]
    answer = functions.invoke(FunctionName=name, Payload=json.dumps({"do": "environment"}))
    return int(json.load(answer["Payload"])["process"])
