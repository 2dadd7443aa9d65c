"""Rehearsals of upgrades, kept under ``<database>/upgrades/<backup_id>/<time>.json``, each written once.

They lie apart from the evidence of proofs, because they say nothing about the backup itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from coffre.errors import ObjectCorruptError, ObjectMissingError
from coffre.results import Compared, Rehearsal
from coffre.vault.evidence import MAX_BYTES, packed, public_findings
from coffre.vault.files import put_bytes
from coffre.vault.layout import Layout
from coffre.vault.store import ObjectStore


def keep_rehearsal(store: ObjectStore, found: Rehearsal) -> None:
    """Write what a rehearsal found to where its report says.

    Of a sealed backup only verdict, versions and codes are left in the open, as in `coffre.vault.evidence`.

    Raises
    ------
    ObjectExistsError, StoreUnavailableError
    """
    if store.seal.key is not None:
        reasons = public_findings(found.upgrade.reasons, found.database)
        upgrade = found.upgrade.model_copy(update={"reasons": reasons, "compared": Compared()})
        sealed = packed(found, store.seal, found.upgrade.evidence)
        found = found.model_copy(update={"upgrade": upgrade, "sealed": sealed})
    put_bytes(store, found.upgrade.evidence, found.model_dump_json(indent=1, exclude_none=True).encode())


def kept_rehearsals(store: ObjectStore, database: str) -> Iterator[Rehearsal]:
    """All that are kept of a database, those too whose backup is gone; what can't be read is left out.

    Raises
    ------
    StoreUnavailableError
    """
    for item in store.objects(Layout(database).rehearsals):
        try:
            found = Rehearsal.model_validate_json(store.read(item.key, limit=MAX_BYTES))
        except (ValidationError, ObjectCorruptError, ObjectMissingError):
            continue
        if (found.database, found.upgrade.evidence) == (database, item.key):
            yield found
