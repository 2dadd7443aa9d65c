"""One verification: read everything back, have it proven, keep the evidence."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial

from coffre.catalogue.entries import RestoreEntry
from coffre.catalogue.index import Catalogue
from coffre.catalogue.meter import Meter
from coffre.errors import (
    SealBrokenError,
    SealKeyUnavailableError,
)
from coffre.events.base import Verdict
from coffre.events.verify import RecheckRequest, VerifyRequest
from coffre.ids import in_turn, new_attempt, stamp, utc_now
from coffre.notify.publisher import DetailType
from coffre.results import Finding, ProofReport, RecheckResult, UpgradeReport, VerifyResult
from coffre.vault.contents import scratch_folder
from coffre.vault.evidence import evidence_of, evidence_time
from coffre.vault.files import put_bytes
from coffre.vault.layout import Layout
from coffre.vault.manifest import Manifest
from coffre.vault.reader import load_manifest, meant_backup
from coffre.verify.job import ENDING_SECONDS, Services, Verification, databases_to_read, opened
from coffre.verify.proof import have_proven
from coffre.verify.readback import read_back
from coffre.verify.reasons import MAX_REASONS, SHOWN_REASONS, bounded, refusal, report_of
from coffre.verify.recheck import Services as RecheckServices
from coffre.verify.recheck import recheck
from coffre.verify.rehearsal import check_upgrade, rehearse
from coffre.verify.standing import standing, told

EVENTS: dict[Verdict, DetailType] = {
    "proven": "Proof Passed",
    "failed": "Proof Failed",
    "inconclusive": "Proof Inconclusive",
}


def run(request: VerifyRequest, services: Services, *, seconds: float) -> VerifyResult:
    """Verify and prove one backup.

    Parameters
    ----------
    seconds:
        How long this may take, `prove` included.

    Returns
    -------
    VerifyResult
        Its verdict is ``failed`` if the vault doesn't hold what the manifest says or the proof failed.

    Raises
    ------
    CoffreError
        If there is no such backup, or the store or the catalogue don't answer: that says nothing about it.
    """
    started, ends = utc_now(), time.monotonic() + min(seconds, services.max_run_seconds)
    meant = meant_backup(services.store, request.database, request.backup_id)
    manifest, digest = load_manifest(services.store, request.database, meant)
    if request.upgrade_to is not None:
        check_upgrade(manifest, request.upgrade_to)
    recorded = _recorded_hash(services.catalogue, manifest)
    if recorded not in (None, digest):
        return _record(services, manifest, recorded, report_of("failed", [_another(manifest)]))
    try:
        manifest, services = opened(manifest, services)
    except SealKeyUnavailableError as error:
        return _record(services, manifest, digest, report_of("inconclusive", [_locked(error)]))
    except SealBrokenError as error:
        return _record(services, manifest, digest, report_of("failed", [refusal(error, manifest.id)]))
    run_id = f"{manifest.id}-{new_attempt()}"
    services.catalogue.start_run(
        request.database, "verify", run_id, started + timedelta(seconds=seconds), manifest.id
    )
    services.catalogue.complete(manifest, digest)
    try:
        with scratch_folder(services.scratch, "verify") as folder:
            tell = partial(services.catalogue.run_progress, request.database, run_id)
            meter = Meter(tell, manifest.totals.bytes)
            work = Verification(services, manifest, digest, folder / "sections", ends, meter)
            damage = read_back(work)
            report = (
                report_of("failed", damage) if damage else have_proven(work, once_a_day=request.once_a_day)
            )
            upgrade = rehearse(work, request.upgrade_to, report) if request.upgrade_to else None
    finally:
        services.catalogue.end_run(request.database, run_id)
    took = (utc_now() - started).total_seconds()
    return _record(services, manifest, digest, report, upgrade, seconds=took, is_whole=not damage)


def reread(request: RecheckRequest, services: Services, *, seconds: float) -> RecheckResult:
    """Read the chunks again that are due; a backup that needs a damaged one loses its verdict.

    Raises
    ------
    CoffreError
        If the store or the catalogue don't answer, or nobody knows such a database.
    """
    ends = time.monotonic() + seconds - ENDING_SECONDS
    found = databases_to_read(services, request.database)

    def accuse(manifest: Manifest, digest: str, damage: list[Finding]) -> None:
        _record(services, manifest, digest, report_of("failed", damage))

    work = RecheckServices(services.store, services.catalogue, accuse)
    reports = [recheck(name, work, days=request.days, ends=ends) for name in in_turn(found, utc_now())]
    result = RecheckResult(reports=reports)
    services.publisher.publish("Recheck Completed", result.answer())
    return result


def _locked(error: SealKeyUnavailableError) -> Finding:
    """Without its key nothing can be said about a backup but that it can't be restored at the moment."""
    return Finding(level="warn", code=error.code, object="", message=error.message, advice=error.hint)


def _recorded_hash(catalogue: Catalogue, manifest: Manifest) -> str | None:
    """The root hash that the backup had when it was committed; None if the catalogue doesn't know it.

    A manifest is written once, and a backup made again after its deletion is no longer `completed` before.
    """
    entry = catalogue.backup(manifest.database, manifest.id)
    return entry.root_hash if entry is not None and entry.status == "completed" else None


def _another(manifest: Manifest) -> Finding:
    return Finding(
        level="refuse",
        code="manifest-differs",
        object=manifest.id,
        message=f"the manifest of {manifest.id} isn't the one that was written: its hash is another one",
        advice="Look at the versions of manifest.json; the catalogue holds the hash of the right one.",
    )


def _record(
    services: Services,
    manifest: Manifest,
    digest: str,
    report: ProofReport,
    upgrade: UpgradeReport | None = None,
    *,
    seconds: float = 0.0,
    is_whole: bool = False,
) -> VerifyResult:
    """Write the evidence, then tell the catalogue and the world.

    Where an earlier verdict stands, no evidence is written, and the catalogue is told of the earlier one.
    """
    evidence = f"{Layout(manifest.database).proofs(manifest.id)}{stamp(utc_now())}.json"
    result = VerifyResult(
        database=manifest.database,
        backup_id=manifest.id,
        verdict=report.verdict,
        reasons=report.reasons,
        root_hash=digest,
        completed=manifest.completed,
        tables=manifest.totals.relations,
        rows=manifest.totals.rows,
        bytes=manifest.totals.bytes,
        compared=report.compared,
        sample=report.sample,
        evidence=evidence,
        seconds=round(seconds, 3),
        phases=report.phases,
        upgrade=upgrade,
    )
    earlier = standing(services.store, manifest, digest, report, is_whole=is_whole)
    if earlier is not None:
        reasons = [*report.reasons, told(earlier)]
        result = bounded(
            result.model_copy(update={"reasons": reasons, "evidence": earlier.evidence}), SHOWN_REASONS
        )
        _tell_catalogue(services.catalogue, earlier)
        services.publisher.publish(EVENTS[result.verdict], result.answer())
        return result
    kept = bounded(result.model_copy(update={"upgrade": None}), MAX_REASONS)
    put_bytes(services.store, evidence, evidence_of(kept, services.store.seal))
    shown = bounded(result, SHOWN_REASONS)
    services.catalogue.verdict(shown)
    if result.verdict == "proven":
        services.catalogue.record_restore(_measured(result, report))
    services.publisher.publish(EVENTS[result.verdict], shown.answer())
    return result


def _tell_catalogue(catalogue: Catalogue, earlier: VerifyResult) -> None:
    """Tell it of the verdict that stands, if it knows of another: whoever found it may have died before."""
    entry = catalogue.backup(earlier.database, earlier.backup_id)
    if entry is None or entry.verified != evidence_time(earlier.evidence):
        catalogue.verdict(bounded(earlier, SHOWN_REASONS))


def _measured(result: VerifyResult, report: ProofReport) -> RestoreEntry:
    """How long the proof's restore took, for estimates."""
    return RestoreEntry(
        database=result.database,
        time=evidence_time(result.evidence),
        kind="proof",
        status="completed",
        backup_id=result.backup_id,
        tables=result.tables,
        rows=result.rows,
        bytes=result.bytes,
        milliseconds=round(sum(report.phases.values()) * 1000),
    )
