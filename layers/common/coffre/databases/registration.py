"""A registered database: what the owner decided about it.

It lies in an SSM parameter (JSON, at most 4 KB); credentials lie in Secrets Manager and are only named here.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from coffre.choice import Runs
from coffre.databases.endpoints import Endpoint
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.urls import parse_secret, with_credentials
from coffre.errors import InvalidRegistrationError
from coffre.ids import KMS_KEY, BackupType

MAX_BYTES = 4096
"""A standard SSM parameter holds no more (AWS Systems Manager endpoints and quotas)."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Tier = Literal["hourly", "daily", "weekly", "monthly", "yearly"]
TIERS: tuple[Tier, ...] = get_args(Tier)
_PERIODS: dict[Tier, timedelta] = {
    "hourly": timedelta(hours=1),
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=31),
    "yearly": timedelta(days=366),
}
_Days = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}d$")]
_Keep = Annotated[int, Field(ge=0, le=10_000, strict=True)] | _Days
_Span = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
_KeepYears = Annotated[int, Field(ge=0, le=1_000, strict=True)] | _Days


class Retention(_Model):
    """How many backups to keep: the last one of each of the newest N hours, days, weeks, ...

    A tier is a count of periods (``7``), or days as text (``"30d"``): the last backup of each of its periods
    that isn't older than the newest backup by more than so many days.  ``keep_last`` keeps the newest N
    whatever their time; ``cap`` limits the sum of all tiers (it never takes the newest ``keep_last``, nor the
    last proven one).
    """

    hourly: _Keep = 24
    daily: _Keep = 7
    weekly: _Keep = 5
    monthly: _Keep = 12
    yearly: _KeepYears = 0
    keep_last: Annotated[int, Field(ge=1, le=10_000)] = 3
    cap: Annotated[int, Field(ge=1, le=100_000)] | None = None

    def count(self, tier: Tier) -> int | None:
        """How many periods a tier keeps; None if it is told in days."""
        value: int | str = getattr(self, tier)
        return value if isinstance(value, int) else None

    def days(self, tier: Tier) -> int | None:
        """How many days before the newest backup a tier reaches; None if it counts periods."""
        value: int | str = getattr(self, tier)
        return int(value.removesuffix("d")) if isinstance(value, str) else None

    def span(self, tier: Tier) -> timedelta:
        """How long a tier keeps a backup where none is missing; zero if it keeps none."""
        days, count = self.days(tier), self.count(tier)
        return timedelta(days=days) if days is not None else _PERIODS[tier] * (count or 0)


class Limits(_Model):
    """What a backup must not ask too much of; looked at before each batch of rows.  None: no limit.

    Attributes
    ----------
    active_sessions:
        While more sessions of others than this are busy, no further batch is started.
    replica_lag_seconds:
        The same while a replica of the source, or the source as a replica, is further behind.
    snapshot_minutes:
        A backup whose snapshot is older ends: dead rows pile up behind it.
    """

    active_sessions: Annotated[int, Field(ge=1, le=100_000)] | None = None
    replica_lag_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    snapshot_minutes: Annotated[int, Field(ge=1, le=10_080)] | None = None


class OwnersCheck(_Model):
    """A question whose answer the owner knows, asked in each restored copy.

    Attributes
    ----------
    sql:
        One query whose only row has one column.
    expect:
        The value: ``true`` is what most checks come to.  Numbers and booleans stand for their text; None for
        NULL.
    seconds:
        How long it may take.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")]
    sql: Annotated[str, Field(min_length=1)]
    expect: bool | int | str | None = True
    seconds: Annotated[float, Field(gt=0, le=600)] = 30

    @property
    def expected_text(self) -> str | None:
        """The value as PostgreSQL writes it."""
        if isinstance(self.expect, bool):
            return "t" if self.expect else "f"
        return None if self.expect is None else str(self.expect)


class Registration(_Model):
    """What is decided about one database.

    Attributes
    ----------
    secret:
        Name or ARN of the secret with the credentials.
    credentials:
        Name or ARN of a second secret whose user and password take the place of the first one's: the secrets
        that RDS manages hold nothing else.
    replica:
        Name or ARN of the secret with the URL of a read replica that backups read, safety backups excepted.
    database:
        The database's own name, where the secret doesn't say.
    types:
        The schedules that back it up.
    waiters:
        Seconds that sessions may queue behind the backup's locks before it lets go; None: it holds on.
    rpo_hours:
        How old the newest backup may be.
    scratch:
        Name or ARN of the secret with the URL of a server for drills; None: none are scheduled.
    rto_minutes:
        How long a restore may take, as far as measured ones tell; None: as long as it takes.
    prove:
        Prove every backup, the first of each UTC day, or none (the verdict then says so).
    drill_exceptions:
        Whether a drill goes on without what can't be restored, and names it.
    endpoints:
        The application's, asked by `health`, after a swap, and by a load test.
    availability_percent:
        How many of their answers, and of the source's, must be right while a load test runs.
    runs:
        Whether a backup runs in one function, on the state machine, or (``auto``) where it fits.
    concurrency:
        How many workers a backup on the state machine has: sessions that read at the same time; and a restore
        there, if its target has sessions for them.
    limits:
        What it must not ask too much of.
    stall_minutes:
        A backup on the state machine that gets no further for so long fails.
    checks:
        What is asked in each restored copy; or ``checks_in_vault``, the SHA-256 that names a longer list.
    seal_key:
        ARN of the KMS key that new backups are sealed with; None: they aren't.
    seal_since:
        A data key that was made before isn't used for new backups.
    """

    engine: Literal["postgresql"] = "postgresql"
    secret: Annotated[str, Field(min_length=1)]
    credentials: Annotated[str, Field(min_length=1)] | None = None
    replica: Annotated[str, Field(min_length=1)] | None = None
    database: str | None = None
    types: list[BackupType] = ["hourly", "daily", "weekly", "monthly"]
    waiters: Annotated[int, Field(ge=1, le=3600)] | None = 30
    prove: Literal["every", "daily", "never"] = "every"
    retention: Retention = Retention()
    rpo_hours: _Span = 26
    rto_minutes: _Span | None = None
    critical_tables: list[str] = []
    runs: Runs = "auto"
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    limits: Limits = Limits()
    stall_minutes: Annotated[int, Field(ge=1, le=240)] = 15
    checks: list[OwnersCheck] = []
    checks_in_vault: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    scratch: Annotated[str, Field(min_length=1)] | None = None
    drill_exceptions: Literal["refuse", "accept"] = "refuse"
    endpoints: Annotated[list[Endpoint], Field(max_length=10)] = []
    availability_percent: Annotated[float, Field(gt=0, le=100)] = 100
    seal_key: Annotated[str, Field(pattern=KMS_KEY)] | None = None
    seal_since: AwareDatetime | None = None

    def target(self, secret: str, credentials: str | None = None) -> Target:
        """Where to connect, from the texts of the secret and of the credentials, if there are any.

        Raises
        ------
        InvalidUrlError
        """
        target = parse_secret(secret, database=self.database)
        return target if credentials is None else with_credentials(target, credentials)


def decode(text: str, *, name: str) -> Registration:
    """Read a registration.

    Raises
    ------
    InvalidRegistrationError
        Naming the database and each field that is wrong.
    """
    try:
        return Registration.model_validate(json.loads(text))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidRegistrationError(f"the registration of {name} is not valid: {faults}") from error
    except ValueError as error:
        raise InvalidRegistrationError(f"the registration of {name} is not JSON") from error


def encode(registration: Registration, *, name: str) -> str:
    """A registration as the parameter's text.

    Raises
    ------
    InvalidRegistrationError
        If it is larger than a parameter may be.
    """
    text = registration.model_dump_json(exclude_defaults=True)
    if len(text.encode()) > MAX_BYTES:
        raise InvalidRegistrationError(
            f"the registration of {name} takes more than {MAX_BYTES} bytes",
            "Name fewer tables and endpoints.",
        )
    return text
