"""Evidence about a sealed backup says what rotation goes by, and nothing of the source."""

from __future__ import annotations

import base64
import io
import json

import zstandard

from coffre.results import Compared, Finding, Sample, VerifyResult
from coffre.vault.evidence import SEALED_MESSAGE, evidence_of, is_proof
from coffre.vault.keys import SealKeys
from coffre.vault.sealing import UNSEALED
from tests.fakes.kms import KEY, MemoryKms
from tests.fakes.store import START, MemoryStore

BACKUP = "20261120T030000Z-daily-1f09ab"
CHUNK = "shop/chunks/5f/5f"


def finding(code: str, what: str) -> Finding:
    return Finding(level="refuse", code=code, object=what, message="a quetzal", advice="a quetzal")


def found() -> VerifyResult:
    """Evidence that names quetzals wherever it may, and has numbers that are seen."""
    seen = 987_654
    compared = Compared(tables=seen, rows=seen)
    reasons = [finding("digest-differs", "public.quetzals"), finding("object-corrupt", CHUNK)]
    return VerifyResult(
        database="shop",
        backup_id=BACKUP,
        verdict="inconclusive",
        reasons=reasons,
        root_hash="ab" * 32,
        completed="2026-11-20T03:00:09.000000Z",
        tables=seen,
        rows=seen,
        bytes=5_000,
        compared=compared,
        evidence=f"shop/proofs/{BACKUP}/2026-11-20T03:01:00.000000Z.json",
        seconds=1.5,
        sample=Sample(
            tables=seen, of_tables=seen, bytes=4_000, of_bytes=5_000, large_objects=seen, names=["quetzals"]
        ),
    )


def test_it_tells_verdict_codes_and_keys_and_nothing_of_the_source() -> None:
    seal, result = SealKeys(lambda _: MemoryKms()).for_backup(MemoryStore(), "shop", KEY, START), found()
    body = evidence_of(result, seal)
    assert b"quetzal" not in body
    assert b"987654" not in body
    told = VerifyResult.model_validate_json(body)
    assert is_proof(told), "a sample is a sample, sealed or not"
    assert told.sample is not None
    assert told.sample.summary == "sampled 80 %"
    assert [(one.code, one.object, one.message) for one in told.reasons] == [
        ("digest-differs", "", SEALED_MESSAGE),
        ("object-corrupt", CHUNK, SEALED_MESSAGE),
    ]
    packed = seal.opened(io.BytesIO(base64.b64decode(told.sealed or "")), result.evidence).read()
    assert VerifyResult.model_validate_json(zstandard.decompress(packed)) == result


def test_evidence_that_is_not_sealed_is_told_whole() -> None:
    body = evidence_of(found(), UNSEALED)
    assert VerifyResult.model_validate_json(body) == found()
    assert "sealed" not in json.loads(body)
