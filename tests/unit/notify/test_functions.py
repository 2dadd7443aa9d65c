"""Calling another function: once, but a function that has slept for weeks is waited for."""

from __future__ import annotations

import io
from typing import Any

import pytest
from botocore.exceptions import ClientError

from coffre.errors import FunctionFailedError
from coffre.notify import functions


class Lambda:
    """A client that answers with these errors, one after the other, and then with content."""

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)
        self.calls = 0

    def invoke(self, **_: object) -> dict[str, Any]:
        """One call."""
        self.calls += 1
        if self.codes:
            raise ClientError({"Error": {"Code": self.codes.pop(0), "Message": ""}}, "Invoke")
        return {"Payload": io.BytesIO(b'{"status": "completed"}')}


@pytest.mark.parametrize("code", ["ResourceNotReadyException", "CodeArtifactUserPendingException"])
def test_a_function_that_nobody_has_called_for_weeks_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Lambda refuses the first call, and wakes it up."""
    monkeypatch.setattr(functions, "PAUSE_SECONDS", 0)
    client = Lambda(code, "ENINotReadyException")
    assert functions.call(client, "restore", {}) == {"status": "completed"}
    assert client.calls == 3


def test_one_that_does_not_wake_up_gives_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "WAKING_SECONDS", -1)
    with pytest.raises(FunctionFailedError, match="no answer"):
        functions.call(Lambda("ResourceNotReadyException"), "restore", {})


def test_nothing_else_is_called_twice() -> None:
    """It may have run."""
    client = Lambda("ServiceException")
    with pytest.raises(FunctionFailedError, match="no answer"):
        functions.call(client, "restore", {})
    assert client.calls == 1
