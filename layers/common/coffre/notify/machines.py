"""State machines: how one is started, and what it says of what went wrong in it."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from coffre.errors import FunctionFailedError, FunctionUnavailableError, StoreUnavailableError

_NOT_RUN = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.ResourceNotReadyException",
    "Lambda.ENINotReadyException",
    "Lambda.CodeArtifactUserPendingException",
}
"""Errors of the service, not of a function; the last three of one that hasn't been called for weeks.
Sources: https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html,
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"""

_UNTOLD = "States.ExceedToleratedFailureThreshold"
"""A Map's, of whatever its children failed with; a worker that ran has told its own fault."""


_CUT = re.compile(r'^\{"errorMessage": *"')
"""How the cause of a function's error begins; a machine keeps 32,768 characters of it, so it may not end.
Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_ExecutionFailedEventDetails.html"""

_UNREAD = "States.ItemReaderFailed"
"""A Map's, whose list the store didn't give in a minute."""


def start(client: Any, machine: str, name: str, content: dict[str, Any]) -> None:
    """Start an execution of a state machine, unless the same one runs.

    A name belongs to one execution for 90 days: where one of that name has ended without a backup, the next
    gets another name.
    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html

    Parameters
    ----------
    client:
        A boto3 client of Step Functions.
    machine:
        The machine's ARN.
    content:
        The execution's input.
    """
    given = json.dumps(content)
    try:
        client.start_execution(stateMachineArn=machine, name=name, input=given)
    except client.exceptions.ExecutionAlreadyExists:
        execution = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        if client.describe_execution(executionArn=execution)["status"] != "RUNNING":
            again = f"{name[:73]}-{secrets.token_hex(3)}"
            client.start_execution(stateMachineArn=machine, name=again, input=given)


def is_running(client: Any, execution: str) -> bool:
    """Whether an execution goes on; one that nothing can be learned of now does.

    Parameters
    ----------
    execution:
        Its ARN.
    """
    try:
        return bool(client.describe_execution(executionArn=execution)["status"] == "RUNNING")
    except (BotoCoreError, ClientError):
        return True


def caught(error: dict[str, Any] | None) -> tuple[str, str]:
    """(code, message) of what a state machine caught: a function's error, or the machine's own.

    Parameters
    ----------
    error:
        ``Error`` and ``Cause``.  A function's error has Coffre's code in brackets before its message.
    """
    name, cause = str((error or {}).get("Error", "")), str((error or {}).get("Cause", ""))
    try:
        text = str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        text = _CUT.sub("", cause)
    if text.startswith("[") and "]" in text:
        code, _, message = text[1:].partition("]")
        return code, message.strip()
    text = text or "no cause given"
    if name == _UNREAD:
        return StoreUnavailableError.code, f"the list of batches can't be read ({name}): {text}"
    if name in _NOT_RUN:
        return FunctionUnavailableError.code, f"AWS Lambda didn't run a function: {name}: {text}"
    if name == _UNTOLD:
        message = "a worker failed and couldn't say why: AWS Lambda didn't run it, or ended it"
        return FunctionUnavailableError.code, f"{message} ({name})"
    return FunctionFailedError.code, f"the state machine ended with {name or 'an error'}: {text}"
