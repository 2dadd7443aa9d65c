"""What a backup answers."""

from __future__ import annotations

from typing import Literal

from coffre.results.finding import Finding, Result


class BackupResult(Result):
    """A backup that was taken, skipped because it exists, or only checked."""

    database: str
    backup_id: str
    status: Literal["completed", "skipped", "checked"]
    rows: int = 0
    bytes: int = 0
    stored_bytes: int = 0
    new_bytes: int = 0
    chunks: int = 0
    new_chunks: int = 0
    relations: int = 0
    seconds: float = 0.0
    root_hash: str = ""
    findings: list[Finding] = []


class FanOutResult(Result):
    """The databases for which a backup, or a drill, was started."""

    started: list[str]
