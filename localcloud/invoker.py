"""Invocations as the Lambda service does them: synchronous, asynchronous, with retries and destinations."""

import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from localcloud.background import Background
from localcloud.functions import Function, ThrottledError
from localcloud.runtime_api import Outcome
from localcloud.targets import Targets

MAX_SYNC_BYTES = 6 * 1024 * 1024
"""Largest event and largest response of a synchronous invocation."""

MAX_ASYNC_BYTES = 1024 * 1024
"""Largest event of an asynchronous invocation."""

RETRY_SECONDS = (0.1, 0.2)
"""Pauses before the second and third attempt; AWS waits one and two minutes."""


class UnknownFunctionError(Exception):
    """No function of that name or ARN."""


class PayloadTooLargeError(Exception):
    """The event is larger than Lambda takes."""


class PayloadNotJsonError(Exception):
    """The event is not JSON."""


class Invoker:
    """Finds functions by name and runs them.

    Args:
        background: where asynchronous work runs and fails.
        targets: reaches queues and other destinations.
    """

    def __init__(self, background: Background, targets: Targets) -> None:
        self._background = background
        self._targets = targets
        self.functions: Mapping[str, Function] = {}

    def find(self, reference: str) -> Function:
        """The function of a name, a full or partial ARN, with or without a qualifier.

        Raises:
            UnknownFunctionError: there is none.
        """
        parts = reference.split(":")
        name = parts[parts.index("function") + 1] if "function" in parts[:-1] else parts[0]
        if name not in self.functions:
            raise UnknownFunctionError(name)
        return self.functions[name]

    def invoke(self, function: Function, payload: bytes) -> Outcome:
        """Run a function and wait.

        Raises:
            PayloadTooLargeError, PayloadNotJsonError: the event is refused.
            ThrottledError: the reserved concurrency is used up.
        """
        check(payload, MAX_SYNC_BYTES)
        outcome = function.invoke(payload, wait=False)
        if len(outcome.payload) <= MAX_SYNC_BYTES:
            return outcome
        text = f"Response payload size exceeded maximum allowed payload size ({MAX_SYNC_BYTES + 100} bytes)."
        error = {"errorMessage": text, "errorType": "Function.ResponseSizeTooLarge"}
        return Outcome(json.dumps(error).encode(), True, outcome.request_id, outcome.log)

    def send(self, function: Function, payload: bytes) -> str:
        """Accept an event and run the function later; failures go where the template says.

        Returns:
            The AWS request id, the same for all attempts.

        Raises:
            PayloadTooLargeError, PayloadNotJsonError: the event is refused.
        """
        check(payload, MAX_ASYNC_BYTES)
        request_id = str(uuid.uuid4())
        name = function.settings.name
        self._background.run(name, payload, lambda: self._attempts(function, payload, request_id))
        return request_id

    def _attempts(self, function: Function, payload: bytes, request_id: str) -> None:
        settings = function.settings
        if settings.reserved == 0:
            raise ThrottledError(f"{settings.name} has a reserved concurrency of 0")
        count = 1
        outcome = function.invoke(payload, wait=True, request_id=request_id)
        while outcome.failed and count <= settings.retries:
            time.sleep(RETRY_SECONDS[min(count, len(RETRY_SECONDS)) - 1])
            count += 1
            outcome = function.invoke(payload, wait=True, request_id=request_id)
        if not outcome.failed:
            if settings.on_success:
                record = _record(function, payload, outcome, count)
                self._targets.send(settings.on_success, json.dumps(record))
            return
        self._background.fail("invocation", settings.name, outcome.payload.decode(errors="replace"), payload)
        if settings.dead_letters:
            self._targets.send(settings.dead_letters, payload.decode(), _dead_letter_attributes(outcome))
        if settings.on_failure:
            self._targets.send(settings.on_failure, json.dumps(_record(function, payload, outcome, count)))


def check(payload: bytes, limit: int) -> None:
    """Refuse an event that Lambda would refuse.

    Raises:
        PayloadTooLargeError, PayloadNotJsonError: it is.
    """
    if len(payload) > limit:
        raise PayloadTooLargeError(
            f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
        )
    try:
        json.loads(payload)
    except ValueError as error:
        raise PayloadNotJsonError(f"Could not parse request body into json: {error}") from error


def _record(function: Function, payload: bytes, outcome: Outcome, count: int) -> dict[str, Any]:
    """The invocation record that destinations get
    (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html)."""
    context: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
    if outcome.failed:
        context["functionError"] = "Unhandled"
    return {
        "version": "1.0",
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "requestContext": {
            "requestId": outcome.request_id,
            "functionArn": f"{function.settings.arn}:$LATEST",
            "condition": "RetriesExhausted" if outcome.failed else "Success",
            "approximateInvokeCount": count,
        },
        "requestPayload": json.loads(payload),
        "responseContext": context,
        "responsePayload": json.loads(outcome.payload or b"null"),
    }


def _dead_letter_attributes(outcome: Outcome) -> dict[str, str]:
    error = json.loads(outcome.payload)
    message = str(error.get("errorMessage", ""))[:1000] or "Unhandled"
    return {"RequestID": outcome.request_id, "ErrorCode": "200", "ErrorMessage": message}
