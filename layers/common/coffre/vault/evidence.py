"""Evidence: what a verification found, written under ``<database>/proofs/<backup_id>/<time>.json``, once.

Evidence is never changed.  What takes a proof away later is a note of doubt on the backup that is newer.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator

import zstandard
from pydantic import ValidationError

from coffre.errors import ObjectCorruptError, ObjectMissingError
from coffre.ids import BACKUP_ID
from coffre.results import Compared, CopyResult, Finding, Result, Sample, VerifyResult
from coffre.vault.layout import Layout
from coffre.vault.notes import Note, list_notes, newest_doubt
from coffre.vault.sealing import Seal
from coffre.vault.store import ObjectStore

MAX_BYTES = 4 << 20
SEALED_MESSAGE = "the backup is sealed, and so is what was found"
MAX_FAILURES = 100
"""Pieces of evidence about one backup that are read back at most."""


DOUBT = Finding(
    level="warn",
    code="chunk-quarantined",
    object="",
    message="after its proof, or that of a sample, a chunk that it needs was found damaged and put aside",
    advice="The next backup stores the rows again if they still exist; verify this backup after it.",
)


def newest_evidence(
    store: ObjectStore,
    database: str,
    backup_id: str,
    root_hash: str,
    notes: Iterable[Note] | None = None,
) -> VerifyResult | None:
    """What the newest verification of exactly this backup found, if nothing has made it doubtful since.

    Parameters
    ----------
    root_hash:
        The manifest's: evidence about another manifest under the same id proves nothing.
    notes:
        On this backup; None: they are listed.

    Returns
    -------
    VerifyResult or None
        None if it was never verified, or its newest evidence can't be read: it counts as unproven then.
        A proof that is in doubt is ``inconclusive``.

    Raises
    ------
    StoreUnavailableError
    """
    keys = _keys(store, database, backup_id)
    found = _read(store, keys[-1], (database, backup_id, root_hash)) if keys else None
    if found is None or not is_proof(found):
        return found
    known = list_notes(store, Layout(database), backup_id) if notes is None else notes
    doubt = newest_doubt(known)
    return found if doubt is None or doubt <= evidence_time(found.evidence) else doubted(found)


def newest_copy_check(store: ObjectStore, database: str, backup_id: str, root_hash: str) -> CopyResult | None:
    """What the last check that is kept found of the copy of exactly this backup; None: nothing that counts.

    Raises
    ------
    StoreUnavailableError
    """
    keys = [item.key for item in store.objects(Layout(database).copies(backup_id))]
    if not keys:
        return None
    try:
        found = CopyResult.model_validate_json(store.read(keys[-1], limit=MAX_BYTES))
    except (ValidationError, ObjectCorruptError, ObjectMissingError):
        return None
    return (
        found
        if (found.database, found.backup_id, found.root_hash) == (database, backup_id, root_hash)
        else None
    )


def failures(store: ObjectStore, database: str, backup_id: str, root_hash: str) -> Iterator[VerifyResult]:
    """What failed since this backup was last verified otherwise, the newest first.

    A look at a part of the vault names what it found there and nothing of what others found before.

    Raises
    ------
    StoreUnavailableError
    """
    for key in _keys(store, database, backup_id)[: -MAX_FAILURES - 1 : -1]:
        found = _read(store, key, (database, backup_id, root_hash))
        if found is None or found.verdict != "failed":
            return
        yield found


def evidence_of(result: VerifyResult, seal: Seal) -> bytes:
    """The evidence as it is stored.

    Findings name tables and may quote values, so of a sealed backup's only codes and the keys of objects are
    left in the open: what rotation goes by.

    Parameters
    ----------
    seal:
        The backup's.  Who hasn't its key has seen nothing that would have to be sealed.
    """
    if seal.key is None:
        return result.model_dump_json(indent=1, exclude={"sealed"}).encode()
    return _public(result, packed(result, seal, result.evidence)).model_dump_json(indent=1).encode()


def packed(found: Result, seal: Seal, key: str) -> str:
    """All that was found, sealed for the place where it is kept, in base64."""
    body = zstandard.ZstdCompressor(level=3).compress(found.model_dump_json().encode())
    return base64.b64encode(b"".join(seal.sealed([body], key))).decode()


def _public(result: VerifyResult, sealed: str) -> VerifyResult:
    """What may be read of the evidence: field by field, so that a new one isn't told by mistake."""
    return VerifyResult(
        database=result.database,
        backup_id=result.backup_id,
        verdict=result.verdict,
        reasons=public_findings(result.reasons, result.database),
        root_hash=result.root_hash,
        completed=result.completed,
        tables=0,
        rows=0,
        bytes=result.bytes,
        compared=Compared(),
        evidence=result.evidence,
        seconds=result.seconds,
        sample=_public_sample(result.sample) if result.sample else None,
        sealed=sealed,
    )


def _public_sample(sample: Sample) -> Sample:
    return Sample(tables=0, of_tables=0, bytes=sample.bytes, of_bytes=sample.of_bytes)


def public_findings(reasons: Iterable[Finding], database: str) -> list[Finding]:
    """What may be read of findings about a sealed backup: codes, ids, and keys of objects in the vault."""
    return [
        Finding(
            level=reason.level,
            code=reason.code,
            object=reason.object if _tells_nothing(reason.object, database) else "",
            message=SEALED_MESSAGE,
            count=reason.count,
        )
        for reason in reasons
    ]


def _tells_nothing(what: str, database: str) -> bool:
    return what.startswith(f"{database}/") or BACKUP_ID.match(what) is not None


def _keys(store: ObjectStore, database: str, backup_id: str) -> list[str]:
    prefix = Layout(database).proofs(backup_id)
    return [item.key for item in store.objects(prefix) if item.key.endswith(".json")]


def _read(store: ObjectStore, key: str, about: tuple[str, str, str]) -> VerifyResult | None:
    """A piece of evidence, if it can be read and is about this manifest."""
    try:
        found = VerifyResult.model_validate_json(store.read(key, limit=MAX_BYTES))
    except (ValidationError, ObjectCorruptError, ObjectMissingError):
        return None
    return found if (found.database, found.backup_id, found.root_hash) == about else None


def is_proof(result: VerifyResult) -> bool:
    """Whether the backup was restored and equal, as far as it was: whole, or a sample of it."""
    return result.verdict == "proven" or (result.verdict == "inconclusive" and result.sample is not None)


def doubted(proof: VerifyResult) -> VerifyResult:
    """A proof that lost its force."""
    return proof.model_copy(update={"verdict": "inconclusive", "reasons": [DOUBT], "sample": None})


def is_doubted(result: VerifyResult) -> bool:
    """Whether it was a proof before it became doubtful."""
    return DOUBT in result.reasons


def damaged_chunks(result: VerifyResult) -> list[str]:
    """The ids of the chunks that a verification found damaged or gone."""
    prefix = Layout(result.database).chunks
    return [
        reason.object.rsplit("/", 1)[-1]
        for reason in result.reasons
        if reason.code in (ObjectCorruptError.code, ObjectMissingError.code)
        and reason.object.startswith(prefix)
    ]


def evidence_time(key: str) -> str:
    """The time in the key of a piece of evidence, as text that sorts."""
    return key.rsplit("/", 1)[-1].removesuffix(".json")
