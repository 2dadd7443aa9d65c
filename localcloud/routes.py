"""Requests that moto doesn't get: Lambda's Invoke API and the control endpoint."""

import base64
import re
import uuid
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

from localcloud.background import Failure
from localcloud.errors import UnknownScheduleError
from localcloud.functions import ThrottledError
from localcloud.invoker import (
    MAX_SYNC_BYTES,
    Invoker,
    PayloadNotJsonError,
    PayloadTooLargeError,
    UnknownFunctionError,
    check,
)
from localcloud.server import Response, json_response

_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?")
_CONTROL = "/_localcloud/"
_DRAIN_SECONDS = 60.0


class InvokeRoute:
    """``POST /2015-03-31/functions/NAME/invocations``
    (https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html)."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    def __call__(self, method: str, path: str, environ: dict[str, Any], body: bytes) -> Response | None:
        match = _INVOKE.fullmatch(path)
        if method != "POST" or not match:
            return None
        try:
            return self._invoke(unquote(match[1]), environ, body or b"{}")
        except UnknownFunctionError as error:
            return _refusal(404, "ResourceNotFoundException", f"Function not found: {error}")
        except PayloadTooLargeError as error:
            return _refusal(413, "RequestTooLargeException", str(error))
        except PayloadNotJsonError as error:
            return _refusal(400, "InvalidRequestContentException", str(error))
        except ThrottledError:
            return _refusal(429, "TooManyRequestsException", "Rate Exceeded.")

    def _invoke(self, name: str, environ: dict[str, Any], body: bytes) -> Response:
        function = self._invoker.find(name)
        kind = environ.get("HTTP_X_AMZ_INVOCATION_TYPE", "RequestResponse")
        if kind == "DryRun":
            check(body, MAX_SYNC_BYTES)
            return Response(204, b"", [_request_id(str(uuid.uuid4()))])
        if kind == "Event":
            return Response(202, b"", [_request_id(self._invoker.send(function, body))])
        outcome = self._invoker.invoke(function, body)
        headers = [("X-Amz-Executed-Version", "$LATEST"), _request_id(outcome.request_id)]
        headers.append(("Content-Type", "application/json"))
        if outcome.failed:
            headers.append(("X-Amz-Function-Error", "Unhandled"))
        if environ.get("HTTP_X_AMZ_LOG_TYPE") == "Tail":
            tail = outcome.log.encode()[-4096:]
            headers.append(("X-Amz-Log-Result", base64.b64encode(tail).decode()))
        return Response(200, outcome.payload, headers)


class Controlled(Protocol):
    """What the control endpoint asks of a cloud."""

    @property
    def failures(self) -> list[Failure]:
        """What failed for good."""

    def status(self) -> dict[str, Any]:
        """What it is, and what it does."""

    def fire(self, name: str, scheduled_time: str | None = None) -> dict[str, str]:
        """Deliver a schedule's input now."""

    def drain(self, timeout: float = 60) -> bool:
        """Wait until nothing is under way."""


class ControlRoute:
    """``/_localcloud/``: ``GET status``, ``GET failures``, ``POST fire/NAME``, ``POST drain``.

    No bucket can have a name that starts with an underscore.
    """

    def __init__(self, cloud: Controlled) -> None:
        self._cloud = cloud

    def __call__(self, method: str, path: str, environ: dict[str, Any], _body: bytes) -> Response | None:
        if not path.startswith(_CONTROL):
            return None
        what, _, name = path.removeprefix(_CONTROL).partition("/")
        query = {key: values[0] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        try:
            match (method, what):
                case ("GET", "status"):
                    content: Any = self._cloud.status()
                case ("GET", "failures"):
                    content = [failure.as_dict() for failure in self._cloud.failures]
                case ("POST", "drain"):
                    content = {"drained": self._cloud.drain(float(query.get("timeout", _DRAIN_SECONDS)))}
                case ("POST", "fire"):
                    content = self._cloud.fire(name, query.get("scheduled_time"))
                case _:
                    return json_response(405, {"error": f"no such control: {method} {path}"})
        except UnknownScheduleError as error:
            return json_response(404, {"error": str(error)})
        return json_response(200, content)


def _refusal(status: int, kind: str, message: str) -> Response:
    headers = [("x-amzn-ErrorType", kind), _request_id(str(uuid.uuid4()))]
    return json_response(status, {"Type": "User", "Message": message, "message": message}, headers)


def _request_id(value: str) -> tuple[str, str]:
    return ("x-amzn-RequestId", value)
