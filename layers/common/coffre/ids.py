"""Names: databases, backups and attempts."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, get_args

BackupType = Literal["hourly", "daily", "weekly", "monthly", "manual", "safety"]
BACKUP_TYPES: tuple[BackupType, ...] = get_args(BackupType)

DATABASE_NAME = re.compile(r"[a-z0-9-]{1,48}\Z")
BACKUP_ID = re.compile(rf"(\d{{8}}T\d{{6}}Z)-({'|'.join(BACKUP_TYPES)})-([0-9a-f]{{6}})\Z")

KMS_KEY = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,128}$"
"""The ARN of a KMS key.  An alias may lead to another key tomorrow, and a policy can't name it."""


def backup_id(database: str, kind: BackupType, scheduled: datetime) -> str:
    """The id of the backup that ``database`` is due at ``scheduled``.

    It depends on nothing else, so an event that is delivered twice names the same backup twice.

    Returns
    -------
    str
        For example ``20261120T030000Z-daily-1f09ab``.
    """
    stamp = scheduled.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    exact = f"{database}/{kind}/{scheduled.astimezone(UTC).isoformat()}"
    return f"{stamp}-{kind}-{hashlib.sha256(exact.encode()).hexdigest()[:6]}"


def backup_time(identifier: str) -> datetime:
    """The scheduled time in a backup id, in UTC.

    Raises
    ------
    ValueError
        If ``identifier`` isn't a backup id.
    """
    match = BACKUP_ID.match(identifier)
    if match is None:
        raise ValueError(f"not a backup id: {identifier!r}")
    return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def in_turn(names: Iterable[str], now: datetime) -> list[str]:
    """The names in order, beginning each day with another one.

    Where one function serves all databases, one that takes up all of its time doesn't keep the same others
    waiting for ever.
    """
    ordered = sorted(names)
    first = now.astimezone(UTC).toordinal() % max(1, len(ordered))
    return ordered[first:] + ordered[:first]


def new_attempt() -> str:
    """A random name for one attempt at a backup: 12 hex digits."""
    return secrets.token_hex(6)


def new_seal() -> str:
    """A random name for the key of sealed backups: 32 hex digits."""
    return secrets.token_hex(16)


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """``moment`` as RFC 3339 in UTC with microseconds, for example ``2026-11-20T03:00:00.000000Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(stamped: str) -> datetime:
    """The inverse of `stamp`."""
    return datetime.strptime(stamped, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
