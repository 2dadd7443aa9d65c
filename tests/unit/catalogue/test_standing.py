"""A backup that is known to be bad is counted, named, and taken for nothing that could be restored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coffre.catalogue.entries import BackupEntry
from coffre.catalogue.standing import read_standing
from coffre.results import Finding

DAMAGED = Finding(level="refuse", code="object-corrupt", object="shop/chunks/ab", message="ab is damaged")
EXCEPTED = Finding(level="refuse", code="restores-with-exceptions", object="b", message="with exceptions: k")
VIOLATED = Finding(level="refuse", code="exception-constraint", object="k", message="3 rows violate k")
NOTED = Finding(level="info", code="collation-replaced", object="fr", message="compared under ICU")
CUT = Finding(level="refuse", code="more", object="", message="and 3 more findings", count=3)


def backup(hour: int, verdict: str | None = None, *reasons: Finding) -> BackupEntry:
    entry = BackupEntry("shop", f"20261120T{hour:02}0000Z-hourly-1f09ab", "hourly", "completed")
    return replace(entry, verdict=verdict, reasons=reasons)  # type: ignore[arg-type]


def test_the_newest_backups_of_each_kind_are_found_and_the_failed_ones_counted() -> None:
    entries = [
        backup(15),
        backup(14, "failed", DAMAGED),
        backup(13, "inconclusive"),
        backup(12, "failed", DAMAGED),
        backup(11, "proven"),
        backup(10, "proven"),
    ]
    found = read_standing(entries)
    assert (found.newest, found.usable, found.judged) == (entries[0], entries[0], entries[1])
    assert (found.proven, found.failed) == (entries[4], 2)
    failing = read_standing(entries[1:])
    assert (failing.newest, failing.usable) == (entries[1], entries[2])
    assert read_standing(entries[1:2]).usable is None
    assert read_standing([]).newest is None


@pytest.mark.parametrize(
    ("reasons", "bad"),
    [
        ((DAMAGED,), True),
        ((EXCEPTED, VIOLATED, NOTED), False),
        ((EXCEPTED, VIOLATED, DAMAGED), True),
        ((EXCEPTED, VIOLATED, CUT), True),
        ((NOTED,), True),
        ((), True),
    ],
)
def test_a_backup_that_failed_for_exceptions_alone_can_be_restored(
    reasons: tuple[Finding, ...], bad: bool
) -> None:
    assert backup(14, "failed", *reasons).bad is bad
    assert not backup(14, "inconclusive", *reasons).bad


def test_the_first_grave_reason_says_why_a_backup_failed() -> None:
    assert backup(14, "failed", NOTED, DAMAGED, VIOLATED).failure == DAMAGED.message
    assert backup(14, "failed").failure == "no reason was recorded"
    assert backup(14, "inconclusive", DAMAGED).failure == ""
