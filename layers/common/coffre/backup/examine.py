"""What is looked at before a backup: the vault's safeguards, and the source."""

from __future__ import annotations

from coffre.backup.job import Services
from coffre.backup.speed import speed_findings
from coffre.databases.postgresql import preflight
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.replica import examine_replica
from coffre.databases.postgresql.target import Source
from coffre.results import Finding
from coffre.vault.layout import Layout
from coffre.vault.safeguards import check_safeguards

PREFLIGHT_SECONDS = 60.0


def inspect(source: Source, services: Services, database: str, seconds: float) -> list[Finding]:
    """Everything that speaks for or against a backup, within ``seconds``.

    A named replica is waited for until it is as new as its primary.
    """
    findings = [*check_safeguards(services.store, Layout(database)), *speed_findings()]
    limit = min(seconds, PREFLIGHT_SECONDS)
    with open_session(source.target, seconds=limit) as session:
        findings += preflight.inspect(session)
        if source.primary is not None:
            with open_session(source.primary, seconds=limit) as ahead:
                findings += examine_replica(session, ahead, patience=limit / 2)
    return findings
