"""What an earlier verification found stands until a later one finds something out."""

from __future__ import annotations

from coffre.errors import ManifestInvalidError, ObjectCorruptError, ObjectMissingError
from coffre.results import Finding, ProofReport, VerifyResult
from coffre.vault.evidence import evidence_time, is_doubted, is_proof, newest_evidence
from coffre.vault.manifest import Manifest
from coffre.vault.store import ObjectStore

_DAMAGE = {ObjectCorruptError.code, ObjectMissingError.code, ManifestInvalidError.code}
"""What reading everything back shows to be whole again."""


def standing(
    store: ObjectStore, manifest: Manifest, digest: str, report: ProofReport, *, is_whole: bool
) -> VerifyResult | None:
    """The evidence that a report doesn't displace, because less was restored for it; None: it counts.

    A proof that wasn't due, had no time, or couldn't be made says nothing about the backup: it neither takes
    a proof away nor makes a failure forgotten.  Nor does a sample, in which nothing was found wrong, say more
    than what was found when all of it had been restored.

    Parameters
    ----------
    is_whole:
        Everything was read back, and nothing of it was damaged.

    Raises
    ------
    StoreUnavailableError
    """
    if report.verdict != "inconclusive" or (report.sample is None and report.compared.tables):
        return None
    found = newest_evidence(store, manifest.database, manifest.id, digest)
    if found is None or (report.sample is not None and found.sample is not None):
        return None
    if is_proof(found):
        return found
    if not is_whole:
        return found if found.verdict == "failed" or is_doubted(found) else None
    was_damaged = any(reason.code in _DAMAGE for reason in found.reasons)
    return found if found.verdict == "failed" and not was_damaged else None


def told(earlier: VerifyResult) -> Finding:
    """The finding that says so."""
    verdict = "proven by sample" if earlier.sample is not None else earlier.verdict
    return Finding(
        level="info",
        code="verdict-stands",
        object=earlier.backup_id,
        message=f"what was found at {evidence_time(earlier.evidence)} stands: {verdict}",
    )
