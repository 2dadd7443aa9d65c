"""Upgrades, rehearsed where backups are proven, and kept apart from the evidence of proofs."""

from __future__ import annotations

from coffre.errors import NoUpgradeError
from coffre.events.base import Verdict
from coffre.ids import stamp, utc_now
from coffre.results import ProofReport, Rehearsal, UpgradeReport, UpgradeVerdict
from coffre.vault.layout import Layout
from coffre.vault.manifest import Manifest
from coffre.vault.rehearsals import keep_rehearsal
from coffre.verify.job import Verification
from coffre.verify.proof import ask_for_proof
from coffre.verify.reasons import MAX_REASONS, SHOWN_REASONS, doubt, first_reasons, report_of

_VERDICTS: dict[Verdict, UpgradeVerdict] = {
    "proven": "upgrade-ready",
    "failed": "upgrade-blocked",
    "inconclusive": "inconclusive",
}


def check_upgrade(manifest: Manifest, major: int) -> None:
    """Refuse a major version that a backup's source can't be upgraded to.

    Raises
    ------
    NoUpgradeError
    """
    source = manifest.engine.major
    if major <= source:
        raise NoUpgradeError(
            f"PostgreSQL {major} is no upgrade for {manifest.id}, which comes from PostgreSQL {source}"
        )


def rehearse(work: Verification, major: int, report: ProofReport) -> UpgradeReport:
    """Have the backup restored on a newer major version, and keep what that finds.

    Parameters
    ----------
    report:
        What was found about the backup itself.

    Raises
    ------
    CoffreError
        If the store or the catalogue don't answer.
    """
    if report.verdict == "failed":
        reason = doubt("no-rehearsal", "the backup itself failed: an upgrade says nothing about it")
        found = report_of("inconclusive", [reason])
    else:
        found = ask_for_proof(work, major)
    manifest, time = work.manifest, stamp(utc_now())
    upgrade = UpgradeReport(
        major=major,
        verdict=_VERDICTS[found.verdict],
        reasons=first_reasons(found.reasons, MAX_REASONS),
        compared=found.compared,
        server_version=found.server_version,
        from_version=manifest.engine.server_version,
        rehearsed=time,
        evidence=Layout(manifest.database).rehearsal(manifest.id, time),
    )
    kept = Rehearsal(
        database=manifest.database, backup_id=manifest.id, root_hash=work.digest, upgrade=upgrade
    )
    keep_rehearsal(work.store, kept)
    shown = upgrade.model_copy(update={"reasons": first_reasons(upgrade.reasons, SHOWN_REASONS)})
    work.services.catalogue.record_rehearsal(kept.model_copy(update={"upgrade": shown}))
    return upgrade
