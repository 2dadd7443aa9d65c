"""Tells the world: events on EventBridge, source ``coffre``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from coffre.errors import CoffreError, EventNotPublishedError

SOURCE = "coffre"
NOT_DELIVERED = "alert not delivered"

DetailType = Literal[
    "Backup Completed",
    "Backup Failed",
    "Backup Skipped",
    "Proof Passed",
    "Proof Failed",
    "Proof Inconclusive",
    "Restore Completed",
    "Restore Failed",
    "Drill Completed",
    "Drill Failed",
    "Recheck Completed",
    "Restore Undone",
    "Rotation Completed",
    "Health Reported",
    "Report Written",
    "Protocol Written",
    "Load Test Completed",
]

_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/?#@\s:\"\\]*):[^@\s\"]+@")
_PASSWORD_SETTING = re.compile(r"(?i)\b(password\s*=\s*)[^\s&\"]+")


class Publisher:
    """One event bus.

    Parameters
    ----------
    client:
        A boto3 EventBridge client.
    bus:
        The bus's name.
    stack:
        The stack's name; it stands in every event's detail.
    """

    def __init__(self, client: Any, bus: str, stack: str) -> None:
        self._client = client
        self._bus = bus
        self._stack = stack

    def publish(self, detail_type: DetailType, detail: Mapping[str, Any]) -> None:
        """Publish one event.

        Parameters
        ----------
        detail:
            JSON values.  A server's message may quote a connection string: passwords in it are blotted out.

        Raises
        ------
        EventNotPublishedError
        """
        text = redact(json.dumps({"stack": self._stack, **detail}))
        entry = {"Source": SOURCE, "DetailType": detail_type, "Detail": text, "EventBusName": self._bus}
        try:
            answer = self._client.put_events(Entries=[entry])
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise EventNotPublishedError(f"event {detail_type!r} was refused: {code}") from error
        except BotoCoreError as error:
            raise EventNotPublishedError(
                f"event {detail_type!r} was not sent: {type(error).__name__}"
            ) from error
        if answer.get("FailedEntryCount"):
            code = answer["Entries"][0].get("ErrorCode", "unknown")
            raise EventNotPublishedError(f"event {detail_type!r} was refused: {code}")

    def publish_failure(
        self, detail_type: DetailType, detail: Mapping[str, Any], error: BaseException
    ) -> None:
        """Publish that ``error`` ended something.

        If nobody takes the event, that is added to the error, which is what its caller still gets to see.
        """
        try:
            self.publish(detail_type, detail)
        except EventNotPublishedError as untold:
            if isinstance(error, CoffreError) and NOT_DELIVERED not in error.message:
                error.message += f" ({NOT_DELIVERED}: {untold.message})"


def redact(text: str) -> str:
    """``text`` without the passwords of connection strings."""
    return _PASSWORD_SETTING.sub(r"\1***", _PASSWORD_IN_URL.sub(r"\1:***@", text))
