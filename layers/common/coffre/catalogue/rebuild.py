"""Makes the index again from the bucket: manifests, evidence and rehearsals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from coffre.catalogue.index import Catalogue
from coffre.errors import FormatUnsupportedError, ManifestInvalidError, UnknownBackupError
from coffre.ids import DATABASE_NAME
from coffre.results import listed
from coffre.vault.evidence import newest_copy_check, newest_evidence
from coffre.vault.layout import Layout
from coffre.vault.reader import list_backups, load_manifest
from coffre.vault.rehearsals import kept_rehearsals
from coffre.vault.store import ObjectStore


@dataclass(frozen=True)
class Rebuilt:
    """What was found.

    Attributes
    ----------
    completed, verified:
        Backups that were entered, and how many of them with a verdict.
    invalid:
        Backups whose manifest can't be read; they are entered as failed.
    gone:
        Entries whose manifest doesn't exist any more; they are now ``deleted``.
    """

    databases: int
    completed: int
    verified: int
    invalid: int
    gone: int


def rebuild(
    store: ObjectStore,
    catalogue: Catalogue,
    databases: Iterable[str] | None = None,
    *,
    only_add: bool = False,
) -> Rebuilt:
    """Enter every backup of the vault, or of its copy, into the catalogue.

    It can be repeated, and runs beside backups: it only ever adds what the bucket shows.

    Parameters
    ----------
    databases:
        Names; None for all that have something in the bucket.
    only_add:
        Don't call an entry deleted because its manifest isn't here: a copy may lag behind its vault.

    Raises
    ------
    CatalogueUnavailableError, StoreUnavailableError
    """
    names = list(databases) if databases is not None else vault_databases(store)
    counts: Counter[str] = Counter()
    for database in names:
        for backup_id in list_backups(store, database):
            counts.update(_enter(store, catalogue, database, backup_id))
        for found in kept_rehearsals(store, database):
            shown = found.upgrade.model_copy(update={"reasons": listed(found.upgrade.reasons)})
            catalogue.record_rehearsal(found.model_copy(update={"upgrade": shown}))
        counts["gone"] += 0 if only_add else reconcile(store, catalogue, database)
    return Rebuilt(len(names), *(counts[what] for what in ("completed", "verified", "invalid", "gone")))


def vault_databases(store: ObjectStore) -> list[str]:
    """The names of the databases that have something in the bucket."""
    names = (folder.rstrip("/") for folder in store.folders(""))
    return [name for name in names if DATABASE_NAME.match(name)]


def reconcile(store: ObjectStore, catalogue: Catalogue, database: str) -> int:
    """Enter as deleted what the catalogue calls completed although its manifest is gone; how many that were.

    Raises
    ------
    CatalogueUnavailableError, StoreUnavailableError
    """
    present = set(list_backups(store, database))
    gone = 0
    for entry in catalogue.backups(database, status="completed"):
        if entry.backup_id in present or store.head(Layout(database).manifest(entry.backup_id)) is not None:
            continue
        catalogue.delete(database, entry.backup_id)
        gone += 1
    return gone


def _enter(store: ObjectStore, catalogue: Catalogue, database: str, backup_id: str) -> list[str]:
    try:
        manifest, root_hash = load_manifest(store, database, backup_id)
    except (ManifestInvalidError, FormatUnsupportedError) as error:
        catalogue.fail(database, backup_id, error.code, error.message)
        return ["invalid"]
    except UnknownBackupError:
        return []
    catalogue.complete(manifest, root_hash)
    copy = newest_copy_check(store, database, backup_id, root_hash)
    if copy is not None:
        catalogue.copied(copy)
    evidence = newest_evidence(store, database, backup_id, root_hash)
    if evidence is None:
        return ["completed"]
    catalogue.verdict(evidence.model_copy(update={"reasons": listed(evidence.reasons)}))
    return ["completed", "verified"]
