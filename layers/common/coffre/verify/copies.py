"""Whether a backup's copy in the second vault is complete.

S3 replicates objects in any order and at its own pace, so a manifest may be there before its chunks: a copy
is ``complete`` only when everything that the manifest needs is there.  What isn't there yet and what never
comes look the same in the copy; the vault's own object tells them apart by its replication status.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from coffre.catalogue.entries import BackupEntry
from coffre.catalogue.meter import Meter
from coffre.errors import (
    CoffreError,
    DeadlineExceededError,
    NoCopyError,
    ObjectCorruptError,
    ObjectMissingError,
)
from coffre.events.verify import CopyRequest
from coffre.ids import stamp, utc_now
from coffre.results import CopiesResult, CopyCompared, CopyResult, CopyVerdict, Finding
from coffre.vault.contents import read_contents, scratch_folder
from coffre.vault.evidence import public_findings
from coffre.vault.files import put_bytes
from coffre.vault.layout import Layout
from coffre.vault.manifest import MAX_BYTES, Manifest
from coffre.vault.presence import MAX_GAPS, Gap, Look
from coffre.vault.reader import list_backups, load_manifest, meant_backup
from coffre.vault.store import ObjectStore
from coffre.verify.job import ENDING_SECONDS, Services, Verification, databases_to_read, opened
from coffre.verify.readback import read_back
from coffre.verify.reasons import MAX_REASONS, doubt

NAMED = 20
"""Objects that an answer names at most; the evidence names all that were looked at."""

_DEPTHS: tuple[CopyCompared, ...] = ("size", "checksum", "content")
_CAUSES = {
    "PENDING": ("copy-pending", "it is still being replicated", ""),
    "FAILED": (
        "copy-failed",
        "its replication failed",
        "Look at the replication role and the copy's key, then replicate it with S3 Batch Replication.",
    ),
    "": (
        "copy-never-replicated",
        "it was written before replication was set up",
        "Replicate what existed before with S3 Batch Replication.",
    ),
}
_LOST = (
    "copy-lost",
    "it was replicated, so somebody or something deleted it or changed it in the copy",
    "Replicate it again with S3 Batch Replication, and look who may delete there.",
)


def run(request: CopyRequest, services: Services, *, seconds: float) -> CopiesResult:
    """Check one backup's copy, or all that are due: those not complete, and the one checked longest ago.

    A check of all stops when time runs out; the next one goes on with those that were checked longest ago.

    Raises
    ------
    NoCopyError
        If the vault isn't replicated.
    CoffreError
        If there is no such backup, or a store or the catalogue doesn't answer: that says nothing about it.
        The other backups were looked at all the same.
    """
    if services.copy is None:
        raise NoCopyError(f"the vault {services.store.bucket} isn't replicated anywhere")
    ends = time.monotonic() + min(seconds, services.max_run_seconds)
    if request.database is not None and request.backup_id is not None:
        meant = meant_backup(services.store, request.database, request.backup_id)
        manifest, digest = load_manifest(services.store, request.database, meant)
        by: CopyCompared = "content" if request.read else "checksum"
        return CopiesResult(copies=[_check(manifest, digest, services, ends, by=by, always=True)])
    checked: list[CopyResult] = []
    failure: CoffreError | None = None
    for database, backup_id in _due(services, databases_to_read(services, request.database)):
        if time.monotonic() > ends - ENDING_SECONDS:
            break
        try:
            manifest, digest = load_manifest(services.store, database, backup_id)
            checked.append(_check(manifest, digest, services, ends, by="size", always=False))
        except DeadlineExceededError:
            break
        except CoffreError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return CopiesResult(copies=checked)


def _due(services: Services, databases: list[str]) -> Iterator[tuple[str, str]]:
    """The backups to look at: those not complete, then of each database the complete one.

    What was looked at longest ago comes first, so that nothing starves when time runs out.
    """
    waiting: list[tuple[str, str, str]] = []
    complete: dict[str, tuple[str, str]] = {}
    for database in databases:
        for backup_id in list_backups(services.store, database):
            entry = services.catalogue.backup(database, backup_id)
            known = entry.copied_to(_copy(services).bucket) if entry else None
            looked = (entry.copy_checked or "") if entry and known else ""
            if known != "complete":
                waiting.append((looked, database, backup_id))
            else:
                complete[database] = min(complete.get(database, (looked, backup_id)), (looked, backup_id))
    yield from ((database, backup_id) for _, database, backup_id in sorted(waiting))
    yield from ((database, backup_id) for database, (_, backup_id) in complete.items())


def _check(
    manifest: Manifest, digest: str, services: Services, ends: float, *, by: CopyCompared, always: bool
) -> CopyResult:
    """Check one copy; ``always``: keep evidence even if nothing has changed since the last look.

    What a deeper look found stands until one as deep doesn't find it any more.
    """
    started = utc_now()
    manifest, services = opened(manifest, services)
    with scratch_folder(services.scratch, "copy") as folder:
        meter = Meter(lambda **_: True, manifest.totals.bytes)
        work = Verification(
            replace(services, store=_copy(services)), manifest, digest, folder / "sections", ends, meter
        )
        depth: CopyCompared = "checksum" if by == "checksum" else "size"
        found = _find(work, services.store, folder / "slices", depth, MAX_GAPS if always else NAMED)
        if by == "content" and found.verdict == "complete":
            found = _read(work, found)
    entry = services.catalogue.backup(manifest.database, manifest.id)
    if entry is not None and _is_known_worse(entry, found):
        return _as_known(entry, found)
    keep = always or entry is None or entry.copied_to(found.bucket) != found.verdict
    return _record(services, found, started, keep=keep)


def _is_known_worse(entry: BackupEntry, found: CopyResult) -> bool:
    known = entry.copied_to(found.bucket) if entry.root_hash == found.root_hash else None
    return known == "incomplete" != found.verdict and _DEPTHS.index(entry.copy_by or "size") > _DEPTHS.index(
        found.by
    )


def _as_known(entry: BackupEntry, found: CopyResult) -> CopyResult:
    """Nothing is kept of a look that wasn't deep enough to take back what is known."""
    message = (
        f"{entry.copy_summary} (by {entry.copy_by}, {entry.copy_checked}); this look was by {found.by} only"
    )
    known = Finding(
        level="refuse",
        code="copy-known-incomplete",
        object=found.backup_id,
        message=message,
        advice="`coffre verify NAME ID --copy --read` looks again as deep.",
    )
    update = {"verdict": "incomplete", "reasons": [known, *found.reasons], "checked": entry.copy_checked}
    return found.model_copy(update=update)


def _find(work: Verification, vault: ObjectStore, scratch: Path, by: CopyCompared, most: int) -> CopyResult:
    """What is in the copy, and what isn't."""
    manifest = work.manifest
    read_contents(vault, manifest, work.spool)
    deep = by == "checksum"
    presence = Look(work.store, work.spool, scratch, deep, most, work.check_time).at(manifest)
    gaps = [*_manifest(work), *presence.gaps]
    reasons = [_explained(vault, gap) for gap in gaps]
    if presence.more:
        reasons.append(doubt("more", "more is lacking than is named here; the next look finds it"))
    pending = sum(reason.code == "copy-pending" for reason in reasons)
    lacking = len(gaps) - pending
    return CopyResult(
        database=manifest.database,
        backup_id=manifest.id,
        verdict="incomplete" if lacking else "pending" if pending else "complete",
        bucket=work.store.bucket,
        reasons=reasons,
        objects=presence.objects + 1,
        bytes=presence.bytes,
        pending=pending,
        lacking=lacking,
        root_hash=work.digest,
        by=by,
    )


def _copy(services: Services) -> ObjectStore:
    if services.copy is None:
        raise NoCopyError(f"the vault {services.store.bucket} isn't replicated anywhere")
    return services.copy


def _manifest(work: Verification) -> Iterator[Gap]:
    """The copy's manifest must be the very bytes whose hash is the root hash."""
    key = Layout(work.manifest.database).manifest(work.manifest.id)
    try:
        found = hashlib.sha256(work.store.read(key, limit=MAX_BYTES)).hexdigest()
    except ObjectMissingError:
        yield Gap(key, f"{key} is missing")
    except ObjectCorruptError as error:
        yield Gap(key, error.message)
    else:
        if found != work.digest:
            yield Gap(key, f"{key} has SHA-256 {found}, expected {work.digest}")


def _explained(vault: ObjectStore, gap: Gap) -> Finding:
    """Why it isn't there, by the replication status of the vault's own object."""
    seen = vault.head(gap.key)
    if seen is None:
        message = f"{gap.message} in the copy, and isn't in the vault either"
        return Finding(level="refuse", code="object-missing", object=gap.key, message=message)
    code, why, advice = _CAUSES.get(seen.replication, _LOST)
    level: Literal["warn", "refuse"] = "warn" if code == "copy-pending" else "refuse"
    message = f"{gap.message} in the copy: {why}"
    return Finding(level=level, code=code, object=gap.key, message=message, advice=advice)


def _read(work: Verification, found: CopyResult) -> CopyResult:
    """Read everything in the copy."""
    damage = read_back(work)
    verdict: CopyVerdict = "incomplete" if damage else "complete"
    update = {"verdict": verdict, "reasons": damage[:MAX_REASONS], "lacking": len(damage), "by": "content"}
    return found.model_copy(update=update)


def _record(services: Services, found: CopyResult, started: datetime, *, keep: bool) -> CopyResult:
    """Write the evidence, then tell the catalogue."""
    now = utc_now()
    seconds = round((now - started).total_seconds(), 3)
    key = f"{Layout(found.database).copies(found.backup_id)}{stamp(now)}.json" if keep else ""
    result = found.model_copy(update={"checked": stamp(now), "evidence": key, "seconds": seconds})
    if keep:
        is_sealed = services.store.seal.key is not None
        reasons = public_findings(result.reasons, result.database) if is_sealed else result.reasons
        kept = result.model_copy(update={"reasons": reasons})
        put_bytes(services.store, key, kept.model_dump_json(indent=1).encode())
    services.catalogue.copied(result)
    return result.model_copy(update={"reasons": result.reasons[:NAMED]})
