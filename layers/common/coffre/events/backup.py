"""What is asked of `backup`, `hold` and `capture`."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from coffre.events.base import DatabaseName, Event, ExactBackup, UtcTime, machine_event, parse, parse_step
from coffre.ids import BackupType


class BackupRequest(Event):
    """Back up one database, or (without a name) every database that is registered for this type."""

    type: BackupType
    scheduled_time: UtcTime
    database: DatabaseName | None = None
    reason: str = Field(default="", max_length=200)
    preflight_only: bool = False

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        if self.preflight_only and self.database is None:
            raise ValueError("preflight_only needs a database")
        return self


class PlanRequest(Event):
    """Say what a backup of a database would do, take and cost, without taking one."""

    action: Literal["plan"]
    database: DatabaseName


class MachineRun(Event):
    """One attempt of the state machine at a backup.

    Attributes
    ----------
    execution:
        The ARN of the machine's execution.
    tries:
        How many attempts it has begun, this one included.
    """

    database: DatabaseName
    backup_id: ExactBackup
    type: BackupType
    scheduled_time: UtcTime
    reason: str = Field(default="", max_length=200)
    execution: str = Field(min_length=1)
    tries: int = Field(ge=0, le=10)

    @property
    def attempt(self) -> str:
        """The attempt's name: the same for all functions that work on it, 12 hex digits."""
        return hashlib.sha256(f"{self.execution}/{self.tries}".encode()).hexdigest()[:12]


class StepRequest(Event):
    """Do one step of a backup on the state machine; ``error`` is what the machine caught before ``abort``."""

    step: Literal["prepare", "plan", "release", "commit", "abort"]
    run: MachineRun
    error: dict[str, Any] | None = None


class HolderRequest(Event):
    """Hold the snapshot of a backup, from the one who holds it now if there is one."""

    run: MachineRun
    token: str = Field(min_length=1)


class CaptureRequest(Event):
    """Capture one batch of a backup's plan."""

    run: MachineRun
    batch: str = Field(pattern=r"^[0-9]{6}(-[0-9]{1,5}-[0-9a-f]{6})?$")


class MachineEnded(Event):
    """An execution of the state machine ended: stopped by hand, over its time, or failed."""

    database: DatabaseName
    backup_id: ExactBackup
    type: BackupType
    scheduled_time: UtcTime
    reason: str = ""
    execution: str
    status: str

    def attempt(self, tries: int) -> MachineRun:
        """One of the attempts that the execution may have made, counted from 1."""
        return MachineRun(**self.model_dump(exclude={"status"}), tries=tries)

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> MachineEnded:
        """Read EventBridge's `Step Functions Execution Status Change`.

        Raises
        ------
        InvalidEventError
            If it isn't one of this machine.
        """
        with machine_event("backup"):
            detail = event["detail"]
            asked = json.loads(detail["input"])
            told = {**asked, "execution": detail["executionArn"], "status": detail["status"]}
            return parse(cls, told, extra="ignore")  # as of an `abort`


def read(event: object) -> BackupRequest | PlanRequest | StepRequest | MachineEnded:
    """What the backup function is asked: by somebody, by its state machine, or by EventBridge.

    Raises
    ------
    InvalidEventError, RunOfAnotherVersionError
    """
    if not isinstance(event, dict) or not event.keys() & {"step", "detail", "action"}:
        return parse(BackupRequest, event)
    if "step" in event:
        return parse_step(StepRequest, event)
    return MachineEnded.from_event(event) if "detail" in event else parse(PlanRequest, event)
