"""What is asked of `rotate`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from coffre.events.base import BackupRef, DatabaseName, Event, UtcTime


class RotateRequest(Event):
    """Apply the retention policy to one database or to all; a dry run only says what would happen."""

    database: DatabaseName | None = None
    dry_run: bool = False


class HoldRequest(Event):
    """Keep a backup whatever the policy says, or end that; ``legal`` makes S3 hold its objects as well."""

    action: Literal["hold", "release"]
    database: DatabaseName
    backup_id: BackupRef
    reason: str = Field(default="", max_length=200)
    until: UtcTime | None = None
    legal: bool = False

    @model_validator(mode="after")
    def _release_ends_all(self) -> Self:
        if self.action == "release" and (self.until is not None or self.legal):
            raise ValueError("a release ends every hold at once: until and legal belong to a hold")
        if self.legal and self.until is not None:
            raise ValueError("a legal hold has no end of its own: only a release ends it")
        return self
