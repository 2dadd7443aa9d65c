"""What is looked at before a backup: the vault's safeguards, and the source."""

from __future__ import annotations

from coffre.backup.job import Services
from coffre.backup.speed import speed_findings
from coffre.databases.postgresql import preflight
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.target import Target
from coffre.results import Finding
from coffre.vault.layout import Layout
from coffre.vault.safeguards import check_safeguards

PREFLIGHT_SECONDS = 60.0


def inspect(target: Target, services: Services, database: str, seconds: float) -> list[Finding]:
    """Everything that speaks for or against a backup, within ``seconds``."""
    findings = [*check_safeguards(services.store, Layout(database)), *speed_findings()]
    with open_session(target, seconds=min(seconds, PREFLIGHT_SECONDS)) as session:
        return findings + preflight.inspect(session)
