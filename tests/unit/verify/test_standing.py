"""What an earlier verification found stands until a later one finds something out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from coffre.errors import ObjectMissingError
from coffre.events.base import Verdict
from coffre.results import Compared, Finding, ProofReport, Sample
from coffre.vault.layout import Layout
from coffre.vault.notes import Chunks, write_note
from coffre.verify.reasons import doubt, report_of
from coffre.verify.standing import standing, told
from tests.fakes.store import MemoryStore
from tests.fakes.vault import SAMPLE, put_backup, put_evidence, put_object

BACKUP = "20261120T030000Z-daily-abcdef"
TIME = datetime(2026, 11, 20, 4, tzinfo=UTC)
NOTHING = report_of("inconclusive", [doubt("no-time", "no time")])
DIFFERS = Finding(level="refuse", code="content-differs", object="public.t", message="differs")
MISSING = Finding(level="refuse", code=ObjectMissingError.code, object="shop/chunks/00/00", message="gone")


def later_key(database: str) -> str:
    """Of a piece of evidence that is an hour newer."""
    return f"{Layout(database).proofs(BACKUP)}20261120T050000.000000Z.json"


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize(("verdict", "sample"), [("proven", None), ("inconclusive", SAMPLE)])
def test_a_proof_isnt_taken_away_by_what_restored_nothing(
    verdict: Verdict, sample: Sample | None, is_whole: bool
) -> None:
    store = MemoryStore()
    manifest, digest = put_backup(store, BACKUP, [b"row\n"])
    earlier = put_evidence(store, manifest, digest, verdict, TIME, sample=sample)
    assert standing(store, manifest, digest, NOTHING, is_whole=is_whole) == earlier
    words = "proven by sample" if sample else "proven"
    assert told(earlier).message == f"what was found at 2026-11-20T04:00:00.000000Z stands: {words}"


@pytest.mark.parametrize(
    ("reason", "is_whole", "stands"),
    [(DIFFERS, True, True), (DIFFERS, False, True), (MISSING, True, False), (MISSING, False, True)],
)
def test_a_failure_stands_unless_it_was_damage_and_all_is_whole_again(
    reason: Finding, is_whole: bool, stands: bool
) -> None:
    store = MemoryStore()
    manifest, digest = put_backup(store, BACKUP, [b"row\n"])
    earlier = put_evidence(store, manifest, digest, "failed", TIME).model_copy(update={"reasons": [reason]})
    key = later_key(manifest.database)
    earlier = earlier.model_copy(update={"evidence": key})
    put_object(store, key, earlier.model_dump_json().encode())
    found = standing(store, manifest, digest, NOTHING, is_whole=is_whole)
    assert found == (earlier if stands else None)


@pytest.mark.parametrize(
    "report",
    [
        report_of("proven", []),
        report_of("failed", [DIFFERS]),
        NOTHING.model_copy(update={"compared": Compared(tables=1)}),
    ],
)
def test_what_a_restore_found_counts_whatever_was_found_before(report: ProofReport) -> None:
    store = MemoryStore()
    manifest, digest = put_backup(store, BACKUP, [b"row\n"])
    put_evidence(store, manifest, digest, "proven", TIME)
    assert standing(store, manifest, digest, report, is_whole=True) is None


SAMPLED = NOTHING.model_copy(update={"sample": SAMPLE, "compared": Compared(tables=1)})


@pytest.mark.parametrize(
    ("verdict", "sample", "stands"),
    [
        ("proven", None, True),
        ("failed", None, True),
        ("inconclusive", None, False),
        ("failed", SAMPLE, False),
        ("inconclusive", SAMPLE, False),
    ],
)
def test_a_sample_displaces_samples_and_nothing_that_all_of_it_was_restored_for(
    verdict: Verdict, sample: Sample | None, stands: bool
) -> None:
    store = MemoryStore()
    manifest, digest = put_backup(store, BACKUP, [b"row\n"])
    earlier = put_evidence(store, manifest, digest, verdict, TIME, sample=sample)
    found = standing(store, manifest, digest, SAMPLED, is_whole=True)
    assert found == (earlier if stands else None)


def test_a_sample_counts_where_what_was_damaged_is_whole_again() -> None:
    store = MemoryStore()
    manifest, digest = put_backup(store, BACKUP, [b"row\n"])
    earlier = put_evidence(store, manifest, digest, "failed", TIME)
    damaged = earlier.model_copy(update={"reasons": [MISSING], "evidence": later_key(manifest.database)})
    put_object(store, damaged.evidence, damaged.model_dump_json().encode())
    assert standing(store, manifest, digest, SAMPLED, is_whole=True) is None


def test_nothing_stands_that_isnt_about_this_backup_or_said_nothing_itself() -> None:
    store = MemoryStore()
    manifest, digest = put_backup(store, BACKUP, [b"row\n"])
    assert standing(store, manifest, digest, NOTHING, is_whole=False) is None
    put_evidence(store, manifest, "0" * 64, "proven", TIME)
    assert standing(store, manifest, digest, NOTHING, is_whole=False) is None
    put_evidence(store, manifest, digest, "inconclusive", TIME + timedelta(hours=1))
    assert standing(store, manifest, digest, NOTHING, is_whole=False) is None


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_proof_in_doubt_stays_in_doubt_until_everything_was_read_back(is_whole: bool) -> None:
    store = MemoryStore()
    manifest, digest = put_backup(store, BACKUP, [b"row\n"])
    put_evidence(store, manifest, digest, "proven", TIME)
    later = TIME + timedelta(hours=1)
    write_note(store, Layout(manifest.database), BACKUP, "doubt", Chunks(chunks=["0" * 64]), later)
    found = standing(store, manifest, digest, NOTHING, is_whole=is_whole)
    assert (found is None) is is_whole
