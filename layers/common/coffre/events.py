"""What functions are asked and what they answer, as typed models."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from coffre.errors import InvalidEventError
from coffre.ids import BACKUP_ID, DATABASE_NAME, BackupType


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


def _new_schema(value: str) -> str:
    reserved = value.startswith("pg_") or value == "information_schema"
    if reserved or not 1 <= len(value.encode()) <= 63 or "\0" in value:
        raise ValueError("a schema's name has 1 to 63 bytes and isn't PostgreSQL's own")
    return value


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


def parse(model: type[E], event: object) -> E:
    """Validate ``event`` as ``model``.

    Raises
    ------
    InvalidEventError
        Naming every field that is unknown, missing or malformed.
    """
    try:
        return model.model_validate(event)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'event'}: {e['msg']}" for e in error.errors())
        raise InvalidEventError(f"not a valid {model.__name__}: {faults}") from error


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
        try:
            detail = event["detail"]
            asked = json.loads(detail["input"])
            return parse(cls, {**asked, "execution": detail["executionArn"], "status": detail["status"]})
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidEventError("not an event of the backup's state machine") from error


class VerifyRequest(Event):
    """Verify and prove one backup; with ``upgrade_to``, rehearse its restore on that major version, too."""

    database: DatabaseName
    backup_id: BackupRef
    upgrade_to: Major | None = None

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
        return parse(cls, {"database": pieces[0], "backup_id": pieces[2]})


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


class RestoreRequest(Event):
    """Plan a restore or the undoing of one, or run the plan that was confirmed.

    Attributes
    ----------
    mode:
        ``new``: into a database that doesn't exist or is empty; ``swap``: in the place of one that exists and
        stays under a dated name; ``undo``: put back the database that a swap replaced last; ``tables``: some
        tables into a new schema of an existing database.
    target_secret:
        Whose URL names the target; without one it is the registered database itself (not with ``new``).
    roles:
        ``keep``: objects go to the owners they had; ``mine``: everything belongs to the target's role.
    role_map:
        With ``keep``: roles of the source and the existing roles of the target that take their place.
    safety:
        Whether the database that a ``swap`` replaces is backed up first.
    exceptions:
        Whether to go on without what can't be restored, such as constraints that rows violate.
    tables, into:
        With ``tables``: which, as ``schema.name``, and the schema that is made for them; by default its name
        tells the backup's time, for example ``restored_20261120t023000z``.
    source:
        ``copy``: read the second vault, that the first one is replicated into.
    runs:
        In one function, on the state machine, or (``auto``) where it fits.
    """

    action: Literal["plan", "run"]
    database: DatabaseName
    mode: Literal["new", "swap", "undo", "tables"] = "new"
    backup: BackupRef = "latest"
    target_secret: str | None = Field(default=None, min_length=1)
    roles: Literal["keep", "mine"] = "keep"
    role_map: dict[str, str] = {}
    safety: Literal["take", "skip"] = "take"
    exceptions: Literal["refuse", "accept"] = "refuse"
    tables: Annotated[list[str], Field(max_length=100)] = []
    into: Annotated[str, AfterValidator(_new_schema)] | None = None
    source: Literal["vault", "copy"] = "vault"
    runs: Literal["auto", "function", "machine"] = "auto"
    token: str | None = None

    @model_validator(mode="after")
    def _confirmed(self) -> Self:
        if self.action == "run" and not self.token:
            raise ValueError("a run needs the token of the plan that it confirms")
        if self.action == "plan" and self.token:
            raise ValueError("a plan takes no token")
        return self

    @model_validator(mode="after")
    def _fits_mode(self) -> Self:
        if self.mode == "new" and self.target_secret is None:
            raise ValueError("a restore into a new database needs a target_secret")
        if self.mode != "swap" and "safety" in self.model_fields_set:
            raise ValueError("safety is for the mode swap")
        if self.mode == "undo" and self.model_fields_set & {
            "backup",
            "roles",
            "role_map",
            "exceptions",
            "source",
            "runs",
        }:
            raise ValueError("an undo takes neither backup nor source nor runs nor roles nor exceptions")
        self._fits_tables()
        if self.role_map and self.roles == "mine":
            raise ValueError("role_map is for roles: keep; with mine all belongs to one role")
        return self

    def _fits_tables(self) -> None:
        if self.mode == "tables" and not self.tables:
            raise ValueError("the mode tables needs tables: a list of SCHEMA.TABLE")
        if self.mode != "tables" and (self.tables or self.into is not None):
            raise ValueError("tables and into are for the mode tables")
        if self.mode == "tables" and self.runs == "machine":
            raise ValueError("the mode tables runs in one function")
        if self.mode == "tables" and self.model_fields_set & {"roles", "role_map"}:
            raise ValueError("restored tables belong to the target's role: no roles are kept or mapped")


class DrillRequest(Event):
    """Rehearse a restore on a scratch server; without a database, one for each that has such a server.

    Attributes
    ----------
    target_secret:
        Whose URL names the scratch server; by default the registration's ``scratch``.
    keep:
        Leave the restored database there.
    exceptions:
        Whether to go on without what can't be restored; by default what the registration says.
    exercise:
        It is the quarter's: a protocol is written about it.
    """

    action: Literal["drill"]
    database: DatabaseName | None = None
    backup: BackupRef = "latest"
    target_secret: str | None = Field(default=None, min_length=1)
    roles: Literal["keep", "mine"] = "mine"
    keep: bool = False
    exceptions: Literal["refuse", "accept"] | None = None
    exercise: bool = False

    @model_validator(mode="after")
    def _of_one(self) -> Self:
        if self.database is None and self.model_fields_set - {"action", "exercise"}:
            raise ValueError("a drill of all databases takes nothing but whether it is an exercise")
        return self


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
    phases: dict[str, float] = {}
    digests_equal: bool = False
    findings: list[dict[str, Any]] = []
    exceptions: list[dict[str, Any]] = []
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


class HealthRequest(Event):
    """Report on one database or on all."""

    database: DatabaseName | None = None


class ProbeRequest(Event):
    """Ask the application's endpoints and the source of one database once, and say nothing else about it."""

    action: Literal["probe"]
    database: DatabaseName
