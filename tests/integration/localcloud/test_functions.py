"""Functions run as on Lambda: their environment, their limits, their errors."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud import LayerError
from localcloud.packages import of_layer
from localcloud.processes import is_alive
from tests.support.waiting import soon


class Gate:
    """What an invocation waits at."""

    def __init__(self, folder: Path) -> None:
        self._begun, self._go = folder / "begun", folder / "go"
        self.event = {"do": "wait", "begun": str(self._begun), "go": str(self._go)}

    def arrived(self) -> None:
        """Wait until it is there."""
        soon(self._begun.exists, "the invocation")

    def open(self) -> None:
        """Let it go on."""
        self._go.touch()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path)
    yield made
    made.open()


def test_a_handler_sees_the_environment_of_lambda_and_not_the_developers(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "of the developer")
    seen, error = desk.invoke("EchoFunction", {"do": "environment"})
    assert error is None
    environment = seen["environment"]
    name = desk.cloud.functions["EchoFunction"]
    expected = {
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_ENDPOINT_URL": desk.cloud.endpoint,
        "AWS_REGION": desk.cloud.region,
        "STACK": "local",
        "BUCKET": desk.cloud.bucket,
        "HOME": "/tmp",  # noqa: S108
        "_HANDLER": "app.handler",
    }
    assert {key: environment[key] for key in expected} == expected
    assert "PGPASSWORD" not in environment
    assert seen["directory"] == environment["LAMBDA_TASK_ROOT"]
    assert seen["arn"] == f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    assert 0 < seen["remaining"] <= 60_000


def test_layers_are_mounted_from_their_folders(desk: Any) -> None:
    seen, _ = desk.invoke("EchoFunction", {"do": "environment"})
    assert seen["data"] == "hello from /opt\n"
    assert seen["made"] == "assembled\n"
    assert seen["layers"] == ["plain layer", "shared layer"]


def test_packages_are_those_of_the_layers_and_of_the_runtime(desk: Any) -> None:
    """What a layer lacks is missing here, too, whatever else the developer has."""
    asked = ["xxhash", "boto3", "pytest", "moto", "pydantic"]
    seen, _ = desk.invoke("EchoFunction", {"do": "environment", "packages": asked})
    assert seen["packages"] == ["xxhash", "boto3"]


def test_a_layer_whose_package_is_not_installed_is_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("xxhash==4.1.0\nno-such-package==1.0\n")
    with pytest.raises(LayerError, match="no-such-package isn't installed here"):
        of_layer(tmp_path, tmp_path / "kept")
    assert not list((tmp_path / "kept").glob("*"))


def test_a_warm_process_takes_the_next_event(desk: Any) -> None:
    first, _ = desk.invoke("EchoFunction", {"do": "environment"})
    second, _ = desk.invoke("EchoFunction", {"do": "environment"})
    assert first["process"] == second["process"]


def test_a_function_calls_another_one_and_waits_while_endpoints_answer(desk: Any, gate: Gate) -> None:
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(desk.invoke, "CallerFunction", gate.event)
        gate.arrived()
        desk.s3.put_object(Bucket=desk.cloud.bucket, Key="meanwhile", Body=b"x")
        assert not calling.done()
        gate.open()
        answer, error = calling.result()
    assert error is None
    assert answer == {"caller": desk.cloud.functions["CallerFunction"], "answer": "waited"}


def test_an_exception_is_the_handlers_error_and_its_log_comes_along(desk: Any) -> None:
    name = desk.cloud.functions["EchoFunction"]
    payload = json.dumps({"do": "raise"})
    answer = desk.functions.invoke(FunctionName=name, Payload=payload, LogType="Tail")
    error = json.load(answer["Payload"])
    assert answer["FunctionError"] == "Unhandled"
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "as asked")
    assert error["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert "LogResult" in answer
    log = (desk.cloud.state / "logs" / "EchoFunction.log").read_text()
    assert f"about to fail {error['requestId']}" in log
    logs = desk.cloud.client("logs")
    found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    assert any(f"about to fail {error['requestId']}" in event["message"] for event in found)


def test_a_process_that_ends_is_an_exit_error_and_the_next_event_finds_a_new_one(desk: Any) -> None:
    answer, error = desk.invoke("EchoFunction", {"do": "exit", "code": 3})
    assert error == "Unhandled"
    assert answer["errorType"] == "Runtime.ExitError"
    assert answer["errorMessage"].endswith("Runtime exited with error: exit status 3")
    assert desk.invoke("EchoFunction", {"do": "environment"})[1] is None


def test_a_function_that_cannot_be_imported_says_why(desk: Any) -> None:
    answer, error = desk.invoke("BrokenFunction", {})
    assert error == "Unhandled"
    assert answer["errorType"] == "Runtime.ImportModuleError"
    assert "missing" in answer["errorMessage"]


def test_a_timeout_kills_the_function_and_what_left_its_process_group(desk: Any) -> None:
    answer, error = desk.invoke("HastyFunction", {})
    assert error == "Unhandled"
    assert answer["errorType"] == "Sandbox.Timedout"
    assert answer["errorMessage"].endswith("Task timed out after 1.00 seconds")
    left = re.search(r"left (\d+) behind", (desk.cloud.state / "logs" / "HastyFunction.log").read_text())
    assert left is not None
    soon(lambda: not is_alive(int(left[1])), "its end")


def test_events_and_responses_beyond_the_limits_are_refused(desk: Any) -> None:
    name = desk.cloud.functions["EchoFunction"]
    large = json.dumps("x" * 6 * 1024 * 1024)
    with pytest.raises(ClientError, match="RequestTooLargeException"):
        desk.functions.invoke(FunctionName=name, Payload=large)
    with pytest.raises(ClientError, match="RequestTooLargeException"):
        desk.functions.invoke(FunctionName=name, Payload=large[: 1024 * 1024] + '"', InvocationType="Event")
    answer, error = desk.invoke("EchoFunction", {"do": "large", "bytes": 6 * 1024 * 1024})
    assert (error, answer["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")


def test_a_wrong_name_or_payload_is_refused_as_lambda_refuses_it(desk: Any) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        desk.functions.invoke(FunctionName="nobody", Payload=b"{}")
    with pytest.raises(ClientError, match="InvalidRequestContentException"):
        desk.functions.invoke(FunctionName=desk.cloud.functions["EchoFunction"], Payload=b"{no json")


def test_reserved_concurrency_throttles(desk: Any, gate: Gate) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(desk.invoke, "SingleFunction", gate.event)
        gate.arrived()
        with pytest.raises(ClientError, match="TooManyRequestsException"):
            desk.invoke("SingleFunction", {"do": "environment"})
        gate.open()
        assert first.result() == ("waited", None)


def test_source_folders_stay_clean(desk: Any) -> None:
    seen, _ = desk.invoke("EchoFunction", {"do": "environment"})
    assert not (Path(seen["directory"]) / "__pycache__").exists()
