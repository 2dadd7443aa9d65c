"""What the functions of a restore on the state machine are asked: its run, its steps, its items."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, field_serializer

from coffre.events.base import DatabaseName, Event, ExactBackup, machine_event, parse, parse_step
from coffre.events.restore import RestoreRequest


class LoadItem(Event):
    """What one worker of a restore on the state machine does in one go.

    Attributes
    ----------
    kind:
        ``rows``: the runs ``first`` to before ``end`` of the manifest's part number ``part``; ``digests``:
        the relations with these numbers, of a single one ``pages`` alone; ``late``: the entries at these
        positions of the wave number ``part`` of what follows the rows.
    number:
        Counts the items of a kind, or of a wave, from 1.
    """

    kind: Literal["rows", "digests", "late"]
    number: int = Field(ge=1)
    first: int = Field(ge=0)
    end: int = Field(ge=0)
    part: int = Field(default=0, ge=0)
    pages: tuple[int, int | None] | None = None

    @field_serializer("pages")
    def _as_text(self, pages: tuple[int, int | None] | None) -> tuple[str, str | None] | None:
        """Positions in large objects exceed 2^53; above that not every reader of JSON keeps a number."""
        if pages is None:
            return None
        return str(pages[0]), None if pages[1] is None else str(pages[1])

    @property
    def name(self) -> str:
        """The item's name in the ledger."""
        wave = f"-{self.part}" if self.kind == "late" else ""
        return f"{self.kind}{wave}-{self.number:06d}"

    def short(self) -> dict[str, Any]:
        """The item without what goes without saying: what a state machine hands on has 256 KB."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude_none=True)


class ResumeRequest(Event):
    """Let a restore on the state machine go on that failed or was stopped.

    Attributes
    ----------
    token:
        Of the plan that was confirmed.
    target_secret:
        Whose URL names the same target as before, where the secret of then is gone.
    """

    action: Literal["resume"]
    database: DatabaseName
    token: str = Field(min_length=12)
    target_secret: str | None = Field(default=None, min_length=1)


class RestoreRun(Event):
    """A restore on the state machine, as its functions are told of it.

    Attributes
    ----------
    request:
        What was confirmed; the backup by its id.
    target, target_database:
        The database as messages name it, and its name: the same for all functions, whatever becomes of the
        secret.
    replaces, aside, registered:
        With ``swap``: OID of the database whose place it takes, the name that this one gets, and the name
        under which it is registered and backed up first.
    safety_backup:
        Id of the backup that was taken of it.
    oid:
        Of the database that is filled; 0 before there is one.
    tries:
        How often it was started, by now.
    """

    database: DatabaseName
    backup_id: ExactBackup
    root_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    request: RestoreRequest
    target: str
    target_database: str
    replaces: int | None = None
    aside: str | None = None
    registered: str | None = None
    safety_backup: str | None = None
    oid: int = 0
    tries: int = 1

    @property
    def attempt(self) -> str:
        """The restore's name wherever it needs one: 12 hex digits, the beginning of the plan's token."""
        return str(self.request.token)[:12]

    def short(self) -> dict[str, Any]:
        """The run without what goes without saying, as a state machine hands it on."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def run_id(self) -> str:
        """Its name among the runs that read backups."""
        return f"{self.backup_id}-{self.attempt}"


class RestoreStepRequest(Event):
    """Do one step of a restore on the state machine.

    Attributes
    ----------
    error:
        What the machine caught before ``abort``.
    report:
        What ``check`` found, for ``finish``.
    """

    step: Literal["protect", "prepare", "rows", "loaded", "judge", "wave", "check", "finish", "abort"]
    run: RestoreRun
    error: dict[str, Any] | None = None
    report: dict[str, Any] = Field(default_factory=dict)


class LoadRequest(Event):
    """Do one item of a restore on the state machine."""

    run: RestoreRun
    item: LoadItem


class RestoreEnded(Event):
    """An execution of the restore's state machine ended: stopped by hand, over its time, or failed."""

    run: RestoreRun
    status: str

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> RestoreEnded:
        """Read EventBridge's `Step Functions Execution Status Change`.

        Raises
        ------
        InvalidEventError
            If it isn't one of this machine.
        """
        with machine_event("restore"):
            detail = event["detail"]
            told = {"run": json.loads(detail["input"])["run"], "status": detail["status"]}
            return parse(cls, told, extra="ignore")  # as of an `abort`


MachineEvent = ResumeRequest | RestoreStepRequest | RestoreEnded


def read_machine_event(event: dict[str, Any]) -> MachineEvent:
    """What the restore function is asked that belongs to its state machine.

    Raises
    ------
    InvalidEventError, RunOfAnotherVersionError
    """
    if "detail" in event:
        return RestoreEnded.from_event(event)
    return parse_step(RestoreStepRequest, event) if "step" in event else parse(ResumeRequest, event)
