"""Calling functions: waiting for their answer while something else is looked at, or not waiting."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from coffre.errors import InvalidEventError, InvalidRegistrationError, UnknownBackupError
from coffre_cli.errors import as_usage, from_function
from coffre_cli.output import note
from coffre_cli.stack import Stack

POLL_SECONDS = 0.5


def call(
    stack: Stack, verb: str, event: dict[str, Any], tick: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Call a function and wait for its answer.

    The call runs in a thread of its own, so that Ctrl-C ends the command at once; the function goes on.

    Parameters
    ----------
    verb:
        ``backup``, ``verify``, ``restore``, ``rotate`` or ``health``.
    tick:
        Called about twice a second meanwhile.

    Raises
    ------
    CoffreError
        With which the function ended.
    """
    function = stack.function(verb)
    outcome: list[dict[str, Any] | BaseException] = []

    def work() -> None:
        try:
            outcome.append(_invoke(stack.patient_lambda(), function, event))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, name=f"invoke-{verb}", daemon=True)
    thread.start()
    with told_if_interrupted(
        f"{function} goes on; only waiting for it has ended{_where_its_end_is(verb, event)}"
    ):
        while thread.is_alive():
            thread.join(POLL_SECONDS)
            if tick is not None:
                tick()
    if isinstance(outcome[0], UnknownBackupError):
        _check_registered(stack, str(event["database"]))
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


_ENDS = {
    ("backup", ""): "`coffre status {database}` follows it",
    ("verify", ""): "`coffre show {database} {backup_id}` tells its verdict",
    ("restore", "run"): "`coffre restore list {database}` tells how it ended",
    ("restore", "drill"): "`coffre restore list {database}` tells how it ended",
}


def _where_its_end_is(verb: str, event: dict[str, Any]) -> str:
    """Which command tells the end of what goes on, as the end of a sentence; what only looks has none."""
    told = _ENDS.get((verb, event.get("action", "")))
    return "; " + told.format_map(event) if told else ""


def _check_registered(stack: Stack, name: str) -> None:
    """Tell a name that nothing has as such: functions look into the vault, which outlives registrations.

    Raises
    ------
    UnknownDatabaseError
    """
    from botocore.exceptions import BotoCoreError, ClientError

    with suppress(InvalidRegistrationError, ClientError, BotoCoreError):
        stack.registry().get(name)


@contextmanager
def told_if_interrupted(message: str) -> Iterator[None]:
    """Say, where Ctrl-C ends a wait, what goes on all the same."""
    try:
        yield
    except KeyboardInterrupt:
        note(message)
        raise


def start(stack: Stack, verb: str, event: dict[str, Any]) -> None:
    """Call a function without waiting for it."""
    stack.client("lambda").invoke(
        FunctionName=stack.function(verb), InvocationType="Event", Payload=json.dumps(event)
    )


def _invoke(client: Any, function: str, event: dict[str, Any]) -> dict[str, Any]:
    from coffre.notify.functions import invoke

    answer = invoke(client, function, event)
    content: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        error = from_function(function, content)
        raise as_usage(error) if isinstance(error, InvalidEventError) else error
    return content
