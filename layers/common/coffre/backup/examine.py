"""What is looked at before a backup: the vault's safeguards, and the source."""

from __future__ import annotations

from typing import Literal

from coffre.backup.job import Services
from coffre.backup.speed import speed_findings
from coffre.databases.postgresql import preflight
from coffre.databases.postgresql.activity import sees_others
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.replica import examine_replica
from coffre.databases.postgresql.target import Source
from coffre.databases.registration import Limits
from coffre.errors import PrivilegesMissingError
from coffre.results import Finding
from coffre.vault.layout import Layout
from coffre.vault.safeguards import check_safeguards

PREFLIGHT_SECONDS = 60.0


def inspect(
    source: Source,
    services: Services,
    database: str,
    seconds: float,
    *,
    limits: Limits,
    on_machine: bool = False,
) -> list[Finding]:
    """Everything that speaks for or against a backup, within ``seconds``.

    A named replica is waited for until it is as new as its primary.

    Parameters
    ----------
    limits:
        Of the registration.
    on_machine:
        Whether it is a backup on the state machine, which has to keep the limits.
    """
    findings = [*check_safeguards(services.store, Layout(database)), *speed_findings()]
    limit = min(seconds, PREFLIGHT_SECONDS)
    with open_session(source.target, seconds=limit) as session:
        findings += preflight.inspect(session)
        findings += _unseen_limits(session, limits, "refuse" if on_machine else "warn")
        if source.primary is not None:
            with open_session(source.primary, seconds=limit) as ahead:
                findings += examine_replica(session, ahead, patience=limit / 2)
    return findings


def _unseen_limits(session: Session, limits: Limits, level: Literal["refuse", "warn"]) -> list[Finding]:
    """The limits that nobody could keep, because the role isn't shown what the source does.

    How far a standby itself is behind, everybody is told.
    """
    watched = {"active_sessions": limits.active_sessions, "replica_lag_seconds": limits.replica_lag_seconds}
    if watched["replica_lag_seconds"] is not None and session.value("SELECT pg_is_in_recovery()"):
        del watched["replica_lag_seconds"]
    names = [name for name, value in watched.items() if value is not None]
    if not names or sees_others(session):
        return []
    role = session.target.user
    message = f"the role {role} isn't shown what other sessions do; {' and '.join(names)} can't be kept"
    advice = f"GRANT pg_read_all_stats TO {role}, or remove the limit."
    found = preflight.refusal(PrivilegesMissingError, ", ".join(names), message, advice)
    return [found.model_copy(update={"level": level})]
