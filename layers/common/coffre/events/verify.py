"""What is asked of `verify` and `prove`."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from coffre.errors import InvalidEventError
from coffre.events.base import BackupRef, DatabaseName, Event, Major, parse


class VerifyRequest(Event):
    """Verify and prove one backup.

    Attributes
    ----------
    upgrade_to:
        Rehearse its restore on that major version, too.
    once_a_day:
        With the policy ``daily``: only if no backup of its day is proven yet, as for one that was just made.
        Whoever asks for a proof gets one.
    """

    database: DatabaseName
    backup_id: BackupRef
    upgrade_to: Major | None = None
    once_a_day: bool = False

    @classmethod
    def from_event(cls, event: object) -> VerifyRequest:
        """Read either form: S3's `Object Created` through EventBridge, or the request itself.

        Raises
        ------
        InvalidEventError
            If it is neither, or the object isn't a backup's manifest.
        """
        if not isinstance(event, dict) or event.get("source") != "aws.s3":
            return parse(cls, event)
        key = _object_key(event)
        pieces = key.split("/")
        if len(pieces) != 4 or pieces[1] != "backups" or pieces[3] != "manifest.json":
            raise InvalidEventError(f"object {key!r} is not a backup's manifest")
        return parse(cls, {"database": pieces[0], "backup_id": pieces[2], "once_a_day": True})


def _object_key(event: dict[str, Any]) -> str:
    try:
        return str(event["detail"]["object"]["key"])
    except (KeyError, TypeError) as error:
        raise InvalidEventError("an S3 event without detail.object.key") from error


class RecheckRequest(Event):
    """Read the chunks again that are due, so that each is read once in ``days``."""

    action: Literal["recheck"]
    database: DatabaseName | None = None
    days: int = Field(default=30, ge=1, le=365)


class CopyRequest(Event):
    """Check the copy of one backup; without one, those of all backups that are due.

    Attributes
    ----------
    read:
        Read everything in the copy, as a verification of the vault does.
    """

    action: Literal["copy"]
    database: DatabaseName | None = None
    backup_id: BackupRef | None = None
    read: bool = False

    @model_validator(mode="after")
    def _of_one(self) -> Self:
        if self.backup_id is not None and self.database is None:
            raise ValueError("a backup_id needs a database")
        if self.read and self.backup_id is None:
            raise ValueError("read needs a backup_id")
        return self


class ProveRequest(Event):
    """Restore one backup in the box and compare: everything needed stands behind the ticket's URL.

    ``major`` is the server's major version: `verify` calls the function that has it.  Without one it is the
    source's.  ``seal`` is the key of a sealed backup (`coffre.vault.sealing.Seal.hand_over`), which this
    event alone carries: nothing may store or log it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ticket_url: str = Field(min_length=10)
    seconds: float = Field(gt=0, le=900)
    major: Major | None = None
    seal: dict[str, Any] | None = Field(default=None, repr=False)
