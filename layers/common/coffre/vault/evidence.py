"""Evidence: what a verification found, written under ``<database>/proofs/<backup_id>/<time>.json``, once.

Evidence is never changed.  What takes a proof away later is a note of doubt on the backup that is newer.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from coffre.errors import ObjectCorruptError, ObjectMissingError
from coffre.results import Finding, VerifyResult
from coffre.vault.layout import Layout
from coffre.vault.notes import Note, list_notes, newest_doubt
from coffre.vault.store import ObjectStore

MAX_BYTES = 4 << 20


DOUBT = Finding(
    level="warn",
    code="chunk-quarantined",
    object="",
    message="it was proven, and since then a chunk that it needs was found damaged and put aside",
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
    keys = [
        item.key for item in store.objects(Layout(database).proofs(backup_id)) if item.key.endswith(".json")
    ]
    if not keys:
        return None
    try:
        found = VerifyResult.model_validate_json(store.read(keys[-1], limit=MAX_BYTES))
    except (ValidationError, ObjectCorruptError, ObjectMissingError):
        return None
    same = (found.database, found.backup_id, found.root_hash) == (database, backup_id, root_hash)
    if not same or found.verdict != "proven":
        return found if same else None
    known = list_notes(store, Layout(database), backup_id) if notes is None else notes
    doubt = newest_doubt(known)
    return found if doubt is None or doubt <= evidence_time(found.evidence) else doubted(found)


def doubted(proof: VerifyResult) -> VerifyResult:
    """A proof that lost its force."""
    return proof.model_copy(update={"verdict": "inconclusive", "reasons": [DOUBT]})


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
