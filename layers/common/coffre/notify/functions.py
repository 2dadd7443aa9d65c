"""Other functions: how one is called, and its answer waited for."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from coffre.errors import FunctionFailedError


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
        answer = client.invoke(FunctionName=function, Payload=json.dumps(payload))
        content: dict[str, Any] = json.loads(answer["Payload"].read())
    except (BotoCoreError, ClientError, OSError) as error:
        raise FunctionFailedError(f"{function} gave no answer: {type(error).__name__}") from error
    if "FunctionError" in answer:
        what = f"{content.get('errorType')}: {content.get('errorMessage')}"
        raise FunctionFailedError(f"{function} failed: {what}")
    return content
