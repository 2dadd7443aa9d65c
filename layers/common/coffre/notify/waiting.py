"""Telling a state machine that waits: AWS Step Functions' task tokens.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from coffre.errors import CatalogueUnavailableError

_NOBODY = {"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"}
_ADVICE = "Check the function's role and its way to Step Functions."
MAX_CAUSE = 30_000
"""A cause has 32,768 characters at most (API reference of SendTaskFailure)."""


class TaskToken:
    """One state that waits for this function.

    Every method answers False if nobody waits any more: the state was told already, its time is over, or the
    machine was stopped.
    """

    def __init__(self, client: Any, token: str) -> None:
        self._client = client
        self._token = token

    def heartbeat(self) -> bool:
        """Say that work goes on."""
        return self._send("send_task_heartbeat")

    def succeed(self, answer: Mapping[str, Any]) -> bool:
        """Give the state its result."""
        return self._send("send_task_success", output=json.dumps(dict(answer)))

    def fail(self, error: str, cause: str) -> bool:
        """Let the state fail with an error's name and its cause."""
        return self._send("send_task_failure", error=error[:256], cause=cause[:MAX_CAUSE])

    def _send(self, operation: str, **parameters: str) -> bool:
        try:
            getattr(self._client, operation)(taskToken=self._token, **parameters)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _NOBODY:
                return False
            raise CatalogueUnavailableError(f"the state machine answered {code}", _ADVICE) from error
        except BotoCoreError as error:
            name = type(error).__name__
            raise CatalogueUnavailableError(f"the state machine can't be reached: {name}", _ADVICE) from error
        return True
