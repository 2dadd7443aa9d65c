"""A verification that finds more than anybody can be told says so, and its verdict arrives all the same."""

from __future__ import annotations

from coffre.results import SHOWN, Compared, Finding, UpgradeReport, VerifyResult, listed
from coffre.vault.evidence import MAX_BYTES
from coffre.verify.reasons import MAX_REASONS, SHOWN_REASONS, bounded

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
    assert len(bounded(RESULT, MAX_REASONS).model_dump_json(indent=1)) < MAX_BYTES
    shown = bounded(RESULT, SHOWN_REASONS)
    assert len(shown.model_dump_json()) < 200_000
    assert shown.reasons[-1].message == "19900 more findings are left out"
    assert bounded(shown, MAX_REASONS) == shown


def test_what_a_proof_left_out_is_counted_and_a_rehearsal_takes_its_share() -> None:
    found = RESULT.reasons[0].model_copy(update={"message": "m" * SHOWN})
    proof = listed([found] * 300)
    told = RESULT.model_copy(update={"reasons": proof})
    assert bounded(told, SHOWN_REASONS) == told
    upgrade = UpgradeReport(
        major=18, verdict="upgrade-blocked", reasons=proof, compared=Compared(), server_version=""
    )
    shown = bounded(told.model_copy(update={"upgrade": upgrade}), SHOWN_REASONS)
    assert len(shown.model_dump_json()) < 200_000
    assert shown.upgrade is not None
    for reasons in (shown.reasons, shown.upgrade.reasons):
        assert (len(reasons), reasons[-1].code, reasons[-1].count) == (51, "more", 250)
