"""What is asked of `report`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from coffre.events.base import DatabaseName, Event, UtcTime, parse


class ReportRequest(Event):
    """Report on a month of one database or of all.

    Attributes
    ----------
    month:
        For example ``2026-11``; by default the last one that was over at ``scheduled_time``, or now.
    """

    database: DatabaseName | None = None
    month: str | None = Field(default=None, pattern=r"^2[0-9]{3}-(0[1-9]|1[0-2])$")
    scheduled_time: UtcTime | None = None


class ExerciseEvent(Event):
    """The quarter's drill ended, well or not: `coffre.restore.drill` published it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    database: DatabaseName
    stack: str
    backup_id: str
    exercise: Literal[True]
    started: UtcTime
    completed: UtcTime
    server: str = ""
    status: Literal["completed", "failed", "inconclusive"] = "failed"
    root_hash: str = ""
    tables: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    phases: dict[str, float] = Field(default_factory=dict)
    digests_equal: bool = False
    findings: list[dict[str, Any]] = Field(default_factory=list)
    exceptions: list[dict[str, Any]] = Field(default_factory=list)
    code: str = ""
    message: str = ""
    advice: str = ""

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> ExerciseEvent:
        """Read the event as EventBridge delivers it.

        Raises
        ------
        InvalidEventError
        """
        return parse(cls, event.get("detail"))


class LoadTestEnded(Event):
    """A load test ended: ``report`` is a `coffre.results.LoadTestReport`, to be kept in the vault."""

    action: Literal["loadtest"]
    database: DatabaseName
    report: dict[str, Any]
