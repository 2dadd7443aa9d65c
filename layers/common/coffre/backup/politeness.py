"""Whether the source can bear one more batch now, by the limits of the registration."""

from __future__ import annotations

from coffre.databases.postgresql.activity import active_sessions, replica_lag
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.target import Target
from coffre.databases.registration import Limits

LONGEST_WAIT = 60
"""Seconds until the source is looked at again, at most."""

LOOK_SECONDS = 20.0


def too_busy(target: Target, limits: Limits, application: str) -> str:
    """Why no batch should be started now; empty if nothing speaks against it."""
    if limits.active_sessions is None and limits.replica_lag_seconds is None:
        return ""
    with open_session(target, seconds=LOOK_SECONDS, application=application) as session:
        return _look(session, limits)


def wait_seconds(waits: int) -> int:
    """How long to wait before the source is looked at again, after so many waits.

    Each look is some entries in the history of an execution, which has 25,000 at most.
    """
    return min(LONGEST_WAIT, 1 + waits)


def _look(session: Session, limits: Limits) -> str:
    if limits.active_sessions is not None:
        busy = active_sessions(session)
        if busy > limits.active_sessions:
            return f"{busy} sessions are busy, more than {limits.active_sessions}"
    if limits.replica_lag_seconds is not None:
        lag = replica_lag(session)
        if lag is not None and lag > limits.replica_lag_seconds:
            return f"a replica is {lag:.0f} s behind, more than {limits.replica_lag_seconds}"
    return ""
