"""Other functions: how one is called, and its answer waited for."""

from __future__ import annotations

import json
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from coffre.errors import FunctionFailedError

_ASLEEP = {"ResourceNotReadyException", "ENINotReadyException", "CodeArtifactUserPendingException"}
"""What Lambda answers for a function that nobody has called for weeks: it hasn't run, and is being woken up.
Source: https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html (Inactive)"""

WAKING_SECONDS = 150.0
"""How long such a function is waited for; getting its network again takes a minute."""

PAUSE_SECONDS = 5.0


def invoke(client: Any, function: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Lambda's answer to one call of a function, which is waited for if it has slept.

    Parameters
    ----------
    client:
        A boto3 client of Lambda that waits long enough, and calls once.

    Raises
    ------
    botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError
    """
    until = time.monotonic() + WAKING_SECONDS
    while True:
        try:
            answer: dict[str, Any] = client.invoke(FunctionName=function, Payload=json.dumps(payload))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _ASLEEP or time.monotonic() > until:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return answer


def call(client: Any, function: str, payload: dict[str, Any]) -> dict[str, Any]:
    """A function's answer.

    Parameters
    ----------
    client:
        A boto3 client of Lambda that waits long enough, and calls once.

    Raises
    ------
    FunctionFailedError
        If it ended with an error, or did not answer in time.
    """
    try:
        answer = invoke(client, function, payload)
        content: dict[str, Any] = json.loads(answer["Payload"].read())
    except (BotoCoreError, ClientError, OSError) as error:
        raise FunctionFailedError(f"{function} gave no answer: {type(error).__name__}") from error
    if "FunctionError" in answer:
        what = f"{content.get('errorType')}: {content.get('errorMessage')}"
        raise FunctionFailedError(f"{function} failed: {what}")
    return content
