"""A load test that went well; tests change what they are about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coffre.loadtest.judge import Measured
from coffre.results import (
    Finding,
    ObjectivesReport,
    Round,
    Span,
    Stage,
    SubjectKind,
    TestedBackup,
    TestedProof,
    TestedRestore,
    Watched,
)

BACKUP = "20261120T030000Z-manual-1f09ab"
URL = "https://shop.example.com/health"
STAGES: tuple[Stage, ...] = ("backup", "proof", "restore")


def objectives(**more: Any) -> ObjectivesReport:
    """What the catalogue says; an RPO and an RTO that are met."""
    fields: dict[str, Any] = {
        "database": "shop",
        "days": 30,
        "rpo_hours": 26,
        "exposure_seconds": 3600,
        "proven_exposure_seconds": 3600,
        "rto_minutes": 10,
        "restore_seconds": 60,
        "restore_base_seconds": 1,
        "restore_bytes_per_second": 1000,
        "restores_measured": 3,
    }
    return ObjectivesReport(**{**fields, **more})


def one_round(number: int = 1, **more: Any) -> Round:
    """A backup that was proven and restored equal."""
    work: dict[str, Any] = {"rows": 1000, "bytes": 10_000_000}
    fields: dict[str, Any] = {
        "backup": TestedBackup(
            **work,
            seconds=4,
            backup_id=BACKUP,
            root_hash="06",
            relations=3,
            new_bytes=500,
            where="one function",
        ),
        "proof": TestedProof(verdict="proven", seconds=8, tables=3, rows=1000, digests=3),
        "restore": restored(),
    }
    return Round(number=number, **{**fields, **more})


def restored(**more: Any) -> TestedRestore:
    """A drill."""
    fields: dict[str, Any] = {
        "server": "scratch.example:5432",
        "kind": "drill",
        "tables": 3,
        "rows": 1000,
        "bytes": 10_000_000,
        "seconds": 20,
        "phases": {"schema": 1, "rows": 10, "digests": 5},
        "digests_equal": True,
    }
    return TestedRestore(**{**fields, **more})


def proof(verdict: Any, code: str = "needs-extension") -> TestedProof:
    """A proof that didn't pass."""
    reason = Finding(level="warn", code=code, object="", message=f"because of {code}")
    return TestedProof(verdict=verdict, seconds=8, reasons=[reason])


def seen(kind: SubjectKind, right: int = 100, *, subject: str = URL, **more: Any) -> Watched:
    """A hundred answers before, and a hundred in all meanwhile."""
    fields: dict[str, Any] = {
        "subject": subject if kind == "endpoint" else "a new session with the database",
        "kind": kind,
        "baseline": Span(asked=100, right=100, median_seconds=0.01, slowest_seconds=0.02),
        "meanwhile": Span(
            asked=100,
            right=right,
            median_seconds=0.01,
            slowest_seconds=0.02,
            outage_seconds=0 if right == 100 else 4,
            reason="" if right == 100 else "answered 503, not 200",
        ),
        "stages": {stage: Span(asked=33, right=33) for stage in STAGES},
        "points": [],
    }
    return Watched(**{**fields, **more})


def measured(**more: Any) -> Measured:
    """All objectives are met."""
    good = Measured(
        rounds_asked=1,
        rounds=[one_round()],
        objectives=objectives(),
        endpoints=1,
        availability=100,
        watched=[seen("endpoint"), seen("source")],
        stages=frozenset(STAGES),
        unasked=0,
    )
    return replace(good, **more)
