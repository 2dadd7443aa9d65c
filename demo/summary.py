"""The end of the story in a few lines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from coffre.catalogue.entries import BackupEntry
from coffre.results import BackupResult, RestoreResult, RotateReport, VerifyResult
from coffre_cli.output import count, duration, size
from demo.content import Content


@dataclass(frozen=True)
class Facts:
    """What the steps found out.

    Attributes
    ----------
    first, second:
        The scheduled backup, and the one after the changes.
    proofs:
        Of both.
    content:
        What the database held before the accident and holds again.
    score_without, score:
        The health after the accident, and at the end.
    """

    first: BackupEntry
    second: BackupResult
    proofs: tuple[VerifyResult, VerifyResult]
    rotation: RotateReport
    restore: RestoreResult
    content: Content
    score_without: int
    score: int


def summary(facts: Facts, seconds: float) -> dict[str, str]:
    """The summary's lines by their names."""
    first, second, restore = facts.first, facts.second, facts.restore
    deleted = sum(decision.action == "delete" for decision in facts.rotation.decisions)
    known = 1 - second.new_bytes / second.stored_bytes
    proofs = " and ".join(duration(proof.seconds) for proof in facts.proofs)
    return {
        "database": f"{count(facts.content.table_rows)} rows in {count(facts.content.tables)} tables",
        "first backup": f"{size(first.bytes)} in {_took(first)}, stored as {size(first.stored_bytes)} "
        f"({first.bytes / first.stored_bytes:.1f} times smaller)",
        "second backup": f"{size(second.bytes)} in {duration(second.seconds)}, stored as "
        f"{size(second.stored_bytes)}, of which {known:.0%} was there already",
        "verdicts": f"{' and '.join(proof.verdict for proof in facts.proofs)}, by real restores in {proofs}",
        "rotation": f"{deleted} of {len(facts.rotation.decisions)} backups deleted, as the dry run had said",
        "accident": f"health fell to {facts.score_without} of 100 and is {facts.score} again",
        "restore": f"{count(restore.rows)} rows in {duration(restore.seconds)}, beside the damaged database",
        "lost": "nothing: all rows, definitions and grants are equal, by SQL that isn't Coffre's",
        "whole demo": duration(seconds),
    }


def _took(entry: BackupEntry) -> str:
    """How long a backup took, by its catalogue entry."""
    if not (entry.started and entry.completed):
        return "an unknown time"
    taken = datetime.fromisoformat(entry.completed) - datetime.fromisoformat(entry.started)
    return duration(taken.total_seconds())
