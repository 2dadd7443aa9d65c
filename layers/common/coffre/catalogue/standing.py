"""How a database's completed backups stand: the newest of each kind, and those that are known to be bad."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from coffre.catalogue.entries import BackupEntry


@dataclass
class Standing:
    """One database's completed backups; what is kept of them doesn't grow with their number.

    Attributes
    ----------
    newest:
        The newest one, whatever its verdict.
    usable:
        The newest one that isn't known to be bad (`BackupEntry.bad`); without a verdict nothing is known.
    judged:
        The newest one that has a verdict.
    proven:
        The newest one whose verdict is ``proven``.
    sampled:
        The newest one that was proven by sample; None if a newer one is proven.
    copied:
        The newest one whose copy in the second vault is complete.
    failed:
        How many have the verdict ``failed``.
    seals:
        How many are sealed by each key, by the key as JSON (`coffre.vault.manifest.SealKey`).
    """

    newest: BackupEntry | None = None
    usable: BackupEntry | None = None
    judged: BackupEntry | None = None
    proven: BackupEntry | None = None
    sampled: BackupEntry | None = None
    copied: BackupEntry | None = None
    failed: int = 0
    seals: Counter[str] = field(default_factory=Counter)


def read_standing(entries: Iterable[BackupEntry], copy_bucket: str = "") -> Standing:
    """Sort out a database's backups in one pass, however many of them the question is about.

    Parameters
    ----------
    entries:
        All that are completed, newest first.
    copy_bucket:
        Of the second vault; empty: there is none, and no copy counts.
    """
    found = Standing()
    for entry in entries:
        found.newest = found.newest or entry
        if entry.verdict is not None:
            found.judged = found.judged or entry
        if entry.verdict == "failed":
            found.failed += 1
        if not entry.bad:
            found.usable = found.usable or entry
        if entry.verdict == "proven":
            found.proven = found.proven or entry
        if entry.sampled and found.proven is None:
            found.sampled = found.sampled or entry
        if entry.copied_to(copy_bucket) == "complete":
            found.copied = found.copied or entry
        if entry.seal is not None:
            found.seals[entry.seal] += 1
    return found
