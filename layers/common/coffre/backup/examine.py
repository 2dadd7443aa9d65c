"""What is looked at before a backup: the vault's safeguards, and the source."""

from __future__ import annotations

from coffre.backup.job import Services
from coffre.backup.speed import speed_findings
from coffre.databases.postgresql import preflight
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.replica import examine_replica
from coffre.databases.postgresql.target import Target
from coffre.results import Finding
from coffre.vault.layout import Layout
from coffre.vault.safeguards import check_safeguards

PREFLIGHT_SECONDS = 60.0


def inspect(
    target: Target, services: Services, database: str, seconds: float, *, primary: Target | None = None
) -> list[Finding]:
    """Everything that speaks for or against a backup, within ``seconds``.

    Parameters
    ----------
    primary:
        Whom ``target`` must follow, if it is a named replica: it is waited for until it is as new.
    """
    findings = [*check_safeguards(services.store, Layout(database)), *speed_findings()]
    limit = min(seconds, PREFLIGHT_SECONDS)
    with open_session(target, seconds=limit) as session:
        findings += preflight.inspect(session)
        if primary is not None:
            with open_session(primary, seconds=limit) as ahead:
                findings += examine_replica(session, ahead, patience=limit / 2)
    return findings
