"""The token that confirms a plan: random, with the plan's time, from which dated names are made."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from coffre.errors import PlanUnknownError

_TOKEN = re.compile(r"[0-9a-f]{32}-(\d{8}T\d{6}Z)")
_TIME = "%Y%m%dT%H%M%SZ"


def new_token(now: datetime) -> str:
    """A token for a plan that is made now, for example ``<32 hex digits>-20261120T231500Z``."""
    return f"{secrets.token_hex(16)}-{now.astimezone(UTC).strftime(_TIME)}"


def token_time(token: str) -> datetime:
    """When the plan was made, to the second.

    Raises
    ------
    PlanUnknownError
        If it isn't a token of ours.
    """
    match = _TOKEN.fullmatch(token)
    try:
        return datetime.strptime(match[1] if match else "", _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise PlanUnknownError("this is not a token that a plan holds") from error


def plan_digest(bound: Mapping[str, object]) -> str:
    """A hash over everything that a plan binds."""
    return hashlib.sha256(json.dumps(bound, sort_keys=True).encode()).hexdigest()
