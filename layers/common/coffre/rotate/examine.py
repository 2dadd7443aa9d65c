"""What the policy must know of each backup, from the bucket alone: the catalogue may be incomplete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from coffre.catalogue.entries import RunRecord
from coffre.ids import backup_time
from coffre.results import VerifyResult
from coffre.rotate.inventory import Backup
from coffre.rotate.policy import BackupFacts
from coffre.rotate.quarantine import Suspects
from coffre.vault.evidence import failures, is_doubted, is_proof, newest_evidence
from coffre.vault.layout import Layout
from coffre.vault.likeness import differences
from coffre.vault.manifest import Manifest
from coffre.vault.notes import active_holds, describe_hold
from coffre.vault.reader import load_manifest
from coffre.vault.store import ObjectStore


@dataclass(frozen=True)
class Examined:
    """The backups' facts, their proofs (samples too) as far as they stand, and those in doubt already."""

    facts: tuple[BackupFacts, ...]
    proofs: Mapping[str, VerifyResult]
    doubts: tuple[VerifyResult, ...]

    def without_proofs(self, doubtful: Iterable[str]) -> tuple[BackupFacts, ...]:
        """The facts once the proofs of these backups are in doubt."""
        lost = {backup_id for backup_id in doubtful if backup_id in self.proofs}
        return tuple(
            replace(fact, verdict="inconclusive", sampled=False, doubted=True)
            if fact.backup_id in lost
            else fact
            for fact in self.facts
        )


def examine(
    store: ObjectStore,
    layout: Layout,
    backups: Iterable[Backup],
    runs: Iterable[RunRecord],
    suspects: Suspects,
    now: datetime,
    *,
    has_locks: bool,
) -> Examined:
    """Look at every backup.

    Every manifest is read, so that one which can't be stops the rotation before anything is deleted.

    Parameters
    ----------
    runs:
        That are recorded as going on.
    suspects:
        Reads what evidence calls damaged.
    has_locks:
        The bucket has Object Lock.

    Returns
    -------
    Examined
        A backup whose successor is unlike it is held: what came after may be another database.

    Raises
    ------
    ManifestInvalidError, FormatUnsupportedError, StoreUnavailableError
    """
    facts: list[BackupFacts] = []
    proofs: dict[str, VerifyResult] = {}
    doubts: list[VerifyResult] = []
    released = False
    reading = {run.backup_id: run for run in runs if run.backup_id}
    before: Manifest | None = None
    for backup in backups:
        manifest, root_hash = load_manifest(store, layout.database, backup.backup_id, version=backup.version)
        evidence = newest_evidence(store, layout.database, backup.backup_id, root_hash, backup.notes)
        if evidence is not None and is_proof(evidence):
            proofs[backup.backup_id] = evidence.model_copy(update={"reasons": []})
        if evidence is not None and is_doubted(evidence):
            doubts.append(evidence)
        verdict = evidence.verdict if evidence is not None else None
        # What failed for chunks that were stored afresh since may be whole again: it mustn't go for that.
        found = failures(store, layout.database, backup.backup_id, root_hash) if verdict == "failed" else ()
        whole = [suspects.is_healed(failure) for failure in found]
        healed = verdict == "failed" and all(whole)
        holds = [describe_hold(note, hold) for note, hold in active_holds(store, backup.notes, now)]
        if before is not None and not released and differences(before, manifest):
            reason = f"{manifest.id}, which came after it, is unlike it; a release ends this"
            facts[-1] = replace(facts[-1], holds=(*facts[-1].holds, reason))
        before, released = manifest, any(note.what == "release" for note in backup.notes)
        run = reading.get(backup.backup_id)
        if run is not None:
            holds.append(f"a {run.kind} reads it, until {run.deadline} at the latest")
        locked, legal = _locks(store, layout, backup) if has_locks else (None, False)
        if legal:
            holds.append("a legal hold in the store")
        if verdict == "failed" and not healed and suspects.left_out:
            holds.append("its damage, which may be healed, is looked at by a later rotation")
        facts.append(
            BackupFacts(
                backup.backup_id,
                backup_time(backup.backup_id),
                "inconclusive" if healed else verdict,
                holds=tuple(holds),
                sampled=evidence is not None and is_proof(evidence) and evidence.verdict != "proven",
                doubted=healed or (evidence is not None and is_doubted(evidence)),
                locked=locked,
            )
        )
    return Examined(tuple(facts), proofs, tuple(doubts))


def _locks(store: ObjectStore, layout: Layout, backup: Backup) -> tuple[datetime | None, bool]:
    info = store.head(layout.manifest(backup.backup_id), backup.version)
    return (info.locked_until, info.legal_hold) if info is not None else (None, False)
