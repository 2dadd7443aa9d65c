"""What all events share: how they are read, and the types of their fields."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from coffre.errors import InvalidEventError, RunOfAnotherVersionError
from coffre.ids import BACKUP_ID, DATABASE_NAME


def _database(value: str) -> str:
    if not DATABASE_NAME.match(value):
        raise ValueError("a database's name is 1 to 48 of a-z, 0-9 and -")
    return value


def _backup(value: str) -> str:
    if value != "latest" and not BACKUP_ID.match(value):
        raise ValueError("a backup is `latest` or an id such as 20261120T030000Z-daily-1f09ab")
    return value


def _exact(value: str) -> str:
    if not BACKUP_ID.match(value):
        raise ValueError("a backup's id is such as 20261120T030000Z-daily-1f09ab")
    return value


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs its zone, for example 2026-11-20T03:00:00Z")
    return value.astimezone(UTC)


DatabaseName = Annotated[str, AfterValidator(_database)]
BackupRef = Annotated[str, AfterValidator(_backup)]
ExactBackup = Annotated[str, AfterValidator(_exact)]
UtcTime = Annotated[datetime, AfterValidator(_utc)]
Major = Annotated[int, Field(ge=14, le=18)]
Verdict = Literal["proven", "failed", "inconclusive"]


class Event(BaseModel):
    """Base of all events: unknown fields are refused, so that a typing error is never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


E = TypeVar("E", bound=Event)


def parse(model: type[E], event: object, *, extra: Literal["ignore"] | None = None) -> E:
    """Validate ``event`` as ``model``.

    Parameters
    ----------
    extra:
        What becomes of unknown fields, if they aren't refused.

    Raises
    ------
    InvalidEventError
        Naming every field that is unknown, missing or malformed.
    """
    try:
        return model.model_validate(event, extra=extra)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'event'}: {e['msg']}" for e in error.errors())
        raise InvalidEventError(f"not a valid {model.__name__}: {faults}") from error


def parse_step(model: type[E], event: dict[str, Any]) -> E:
    """Validate what a state machine asks of a function, which may be of another version than its definition.

    An execution goes on with the definition that it began with, whatever is deployed meanwhile.  Functions of
    every version end it: of an ``abort`` they leave out what they don't know.

    Raises
    ------
    RunOfAnotherVersionError
        Naming every field that is unknown, missing or malformed.
    """
    if event.get("step") == "abort":
        return parse(model, event, extra="ignore")
    try:
        return parse(model, event)
    except InvalidEventError as error:
        message = f"the state machine asks what this version of Coffre doesn't know: {error.message}"
        raise RunOfAnotherVersionError(message) from error


@contextmanager
def machine_event(whose: str) -> Iterator[None]:
    """Read an event of a state machine's own; what isn't one is refused.

    Raises
    ------
    InvalidEventError
    """
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidEventError(f"not an event of the {whose}'s state machine") from error
