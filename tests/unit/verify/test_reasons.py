"""A verification that finds more than anybody can be told says so, and its verdict arrives all the same."""

from __future__ import annotations

from coffre.results import Compared, Finding, VerifyResult
from coffre.vault.evidence import MAX_BYTES
from coffre.verify.run import MAX_REASONS, SHOWN_REASONS, _bounded

RESULT = VerifyResult(
    database="shop",
    backup_id="20261120T030000Z-daily-1f09ab",
    verdict="failed",
    reasons=[
        Finding(level="refuse", code="object-corrupt", object="k" * 120, message="m" * 350, advice="a" * 90)
    ]
    * 20_000,
    root_hash="0" * 64,
    completed="2026-11-20T03:00:00.000000Z",
    tables=1,
    rows=1,
    bytes=1,
    compared=Compared(),
    evidence="",
    seconds=1,
)


def test_reasons_fit_where_they_go() -> None:
    assert len(_bounded(RESULT, MAX_REASONS).model_dump_json(indent=1)) < MAX_BYTES
    shown = _bounded(RESULT, SHOWN_REASONS)
    assert len(shown.model_dump_json()) < 200_000
    assert shown.reasons[-1].message == "19900 more findings are left out"
    assert _bounded(shown, MAX_REASONS) == shown
