"""When a proof is due."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.registration import Registration
from coffre.databases.registry import Registry
from coffre.events.base import Verdict
from coffre.notify.publisher import Publisher
from coffre.results import Sample
from coffre.verify.job import Services, Verification
from coffre.verify.proof import have_proven
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.store import MemoryStore
from tests.fakes.vault import SAMPLE, put_backup, put_evidence
from tests.support.vault import Registrations

FIRST, SECOND = "20261120T030000Z-hourly-aaaaaa", "20261120T040000Z-hourly-bbbbbb"


@pytest.mark.parametrize(
    ("verdict", "sample", "once_a_day", "due"),
    [
        ("proven", None, True, False),
        ("inconclusive", SAMPLE, True, False),
        ("inconclusive", None, True, True),
        ("failed", None, True, True),
        ("failed", SAMPLE, True, True),
        ("proven", None, False, True),
    ],
)
def test_a_day_needs_one_proof_or_sample_and_who_asks_gets_another(
    tmp_path: Path, verdict: Verdict, sample: Sample | None, once_a_day: bool, due: bool
) -> None:
    store, catalogue = MemoryStore(), Catalogue(MemoryDynamo(), "table")
    first, root = put_backup(store, FIRST, [b"row\n"])
    catalogue.complete(first, root)
    put_evidence(store, first, root, verdict, sample=sample)
    manifest, digest = put_backup(store, SECOND, [b"row\n"])
    registry = cast("Registry", Registrations(Registration(secret="-", prove="daily")))
    nobody: Any = None
    services = Services(
        store, nobody, catalogue, cast("Publisher", nobody), registry, tmp_path, 900, nobody, nobody
    )
    work = Verification(services, manifest, digest, tmp_path / "sections", 0.0, nobody)
    report = have_proven(work, once_a_day=once_a_day)
    assert [reason.code for reason in report.reasons] == ["no-time" if due else "not-due"]
