"""What rotations and holds answer."""

from __future__ import annotations

from typing import Literal

from coffre.results.finding import Result


class RotateDecision(Result):
    """What happens to one backup, and why; ``locked_until`` is when Object Lock lets it go."""

    backup_id: str
    action: Literal["keep", "delete"]
    reasons: list[str]
    frees_bytes: int = 0
    locked_until: str | None = None


class RotateReport(Result):
    """One database's rotation.

    Attributes
    ----------
    immutable:
        The bucket's Object Lock, ``GOVERNANCE`` or ``COMPLIANCE``; None: nothing in it is immutable.
    locked_objects, locked_bytes, locked_until:
        What would be purged but for its lock, and the last date of those locks.
    extended:
        Backups whose lock is made longer, because a tier keeps them for longer than it lasts.
    quarantined_chunks, doubted:
        Damaged chunks that are put aside, and the backups whose proof that makes doubtful.
    """

    database: str
    dry_run: bool
    decisions: list[RotateDecision]
    marked_chunks: int = 0
    marked_bytes: int = 0
    purged_chunks: int = 0
    purged_bytes: int = 0
    waiting_chunks: int = 0
    waiting_bytes: int = 0
    orphans: int = 0
    immutable: str | None = None
    locked_objects: int = 0
    locked_bytes: int = 0
    locked_until: str | None = None
    extended: list[str] = []
    quarantined_chunks: int = 0
    doubted: list[str] = []


class RotateResult(Result):
    """The rotation of all databases that were asked for; ``failed`` maps the others to their errors."""

    reports: list[RotateReport]
    failed: dict[str, str] = {}


class HoldResult(Result):
    """A backup's holds after one was put or all were released.

    Attributes
    ----------
    holds:
        Those that stand now, as phrases.
    objects:
        How many objects' legal holds were set or lifted.
    """

    database: str
    backup_id: str
    holds: list[str]
    objects: int = 0
