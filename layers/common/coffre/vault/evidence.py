"""Evidence: what a verification found, written under ``<database>/proofs/<backup_id>/<time>.json``, once."""

from __future__ import annotations

from pydantic import ValidationError

from coffre.errors import ObjectCorruptError, ObjectMissingError
from coffre.results import VerifyResult
from coffre.vault.layout import Layout
from coffre.vault.store import ObjectStore

MAX_BYTES = 4 << 20


def newest_evidence(store: ObjectStore, database: str, backup_id: str, root_hash: str) -> VerifyResult | None:
    """What the newest verification of exactly this backup found.

    Parameters
    ----------
    root_hash:
        The manifest's: evidence about another manifest under the same id proves nothing.

    Returns
    -------
    VerifyResult or None
        None if it was never verified, or its newest evidence can't be read: it counts as unproven then.

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
    return found if same else None


def evidence_time(key: str) -> str:
    """The time in the key of a piece of evidence, as text that sorts."""
    return key.rsplit("/", 1)[-1].removesuffix(".json")
