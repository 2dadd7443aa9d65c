"""Rehearsals of upgrades are kept apart from proofs, and tell nothing of a sealed backup's source."""

from __future__ import annotations

import base64
import io
import json

import zstandard

from coffre.results import Compared, Finding, Rehearsal, UpgradeReport
from coffre.vault.evidence import SEALED_MESSAGE, newest_evidence
from coffre.vault.keys import SealKeys
from coffre.vault.layout import Layout
from coffre.vault.rehearsals import keep_rehearsal, kept_rehearsals
from tests.fakes.kms import KEY, MemoryKms
from tests.fakes.store import START, MemoryStore
from tests.fakes.vault import put_backup, put_object

BACKUP = "20261120T030000Z-daily-1f09ab"
LAYOUT = Layout("shop")
QUETZAL = Finding(level="refuse", code="exception-index", object="public.quetzals", message="a quetzal")


def rehearsal(time: str = "2026-11-20T03:01:00.000000Z") -> Rehearsal:
    """One that names quetzals wherever it may, and has numbers that are seen."""
    upgrade = UpgradeReport(
        major=18,
        verdict="upgrade-blocked",
        reasons=[QUETZAL],
        compared=Compared(tables=987_654),
        server_version="PostgreSQL 18",
        from_version="16.14",
        rehearsed=time,
        evidence=LAYOUT.rehearsal(BACKUP, time),
    )
    return Rehearsal(database="shop", backup_id=BACKUP, root_hash="ab" * 32, upgrade=upgrade)


def test_what_is_kept_is_read_back_and_is_no_evidence_of_a_proof() -> None:
    store = MemoryStore()
    _, root = put_backup(store, BACKUP, [b"row\n"])
    keep_rehearsal(store, rehearsal())
    later = rehearsal("2026-11-21T03:01:00.000000Z")
    keep_rehearsal(store, later)
    assert list(kept_rehearsals(store, "shop")) == [rehearsal(), later]
    assert newest_evidence(store, "shop", BACKUP, root) is None
    assert list(kept_rehearsals(store, "sho")) == []


def test_what_can_not_be_read_or_lies_elsewhere_is_left_out() -> None:
    store = MemoryStore()
    put_object(store, LAYOUT.rehearsal(BACKUP, "2026-11-19T00:00:00.000000Z"), b"{")
    moved = LAYOUT.rehearsal(BACKUP, "2026-11-19T01:00:00.000000Z")
    put_object(store, moved, rehearsal().model_dump_json().encode())
    keep_rehearsal(store, rehearsal())
    assert list(kept_rehearsals(store, "shop")) == [rehearsal()]


def test_of_a_sealed_backup_only_verdict_versions_and_codes_are_told() -> None:
    store, whole = MemoryStore(), rehearsal()
    seal = SealKeys(lambda _: MemoryKms()).for_backup(store, "shop", KEY, START)
    keep_rehearsal(store.with_seal(seal), whole)
    body = store.read(whole.upgrade.evidence, limit=1 << 20)
    told = json.loads(body)
    sealed = told.pop("sealed")
    assert "quetzal" not in json.dumps(told)
    assert "987654" not in json.dumps(told)
    (read,) = kept_rehearsals(store, "shop")
    assert (read.upgrade.verdict, read.upgrade.from_version, read.upgrade.major) == (
        "upgrade-blocked",
        "16.14",
        18,
    )
    assert [(one.code, one.object, one.message) for one in read.upgrade.reasons] == [
        ("exception-index", "", SEALED_MESSAGE)
    ]
    packed = seal.opened(io.BytesIO(base64.b64decode(sealed)), whole.upgrade.evidence).read()
    assert Rehearsal.model_validate_json(zstandard.decompress(packed)) == whole
