"""Manifests go, and come back if a hold says so: a backup whose manifest is hidden doesn't exist.

Who holds a backup writes the note and then looks whether the manifest is there; a rotation hides the manifest
and then looks for holds.  So one of the two sees the other, whatever comes between: a hold that was confirmed
is seen by the rotation, which takes its marker away again.  If the rotation died before it looked, the next
one finds a hidden manifest and an active hold, and brings the backup back before it purges anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from coffre.catalogue.index import Catalogue
from coffre.catalogue.rebuild import reconcile
from coffre.errors import DeleteRefusedError, HeldMeanwhileError, ManifestInvalidError
from coffre.observability import log
from coffre.rotate.inventory import Backup
from coffre.rotate.policy import Decision
from coffre.vault.layout import Layout
from coffre.vault.notes import Note, active_holds, describe_hold, list_notes
from coffre.vault.reader import load_manifest
from coffre.vault.store import ObjectStore


def hide(
    store: ObjectStore,
    catalogue: Catalogue,
    layout: Layout,
    decisions: Sequence[Decision],
    freed: Mapping[str, int],
    moment: datetime,
) -> list[Decision]:
    """Hide the manifests of what is not kept, oldest first.

    Parameters
    ----------
    freed:
        Bytes that the deletion of each of them frees, for the audit trail.
    moment:
        When the rotation started.

    Returns
    -------
    list of Decision
        As they were carried out: what has been held meanwhile is kept.

    Raises
    ------
    HeldMeanwhileError
        If one of them has been held before anything was deleted.
    DeleteRefusedError, StoreUnavailableError, CatalogueUnavailableError
        The next rotation goes on.
    """
    doomed = [decision for decision in reversed(decisions) if decision.action == "delete"]
    for decision in doomed:
        if _holds(store, list_notes(store, layout, decision.backup_id), moment):
            raise HeldMeanwhileError(f"{decision.backup_id} of {layout.database} has been held meanwhile")
    kept: dict[str, Decision] = {}
    for decision in doomed:
        backup_id = decision.backup_id
        details = {"reasons": "; ".join(decision.reasons), "frees_bytes": str(freed.get(backup_id, 0))}
        catalogue.audit(layout.database, "delete", backup_id, details)
        store.mark_deleted(layout.manifest(backup_id))
        holds = _holds(store, list_notes(store, layout, backup_id), moment)
        if holds:
            bring_back(store, catalogue, layout, backup_id, holds)
            kept[backup_id] = replace(decision, action="keep", reasons=holds)
        else:
            catalogue.delete(layout.database, backup_id)
    reconcile(store, catalogue, layout.database)
    return [kept.get(decision.backup_id, decision) for decision in decisions]


def held_but_hidden(
    store: ObjectStore, layout: Layout, hidden: Iterable[Backup], moment: datetime
) -> dict[Backup, tuple[str, ...]]:
    """Backups whose manifest is hidden although they are held, with their holds.

    A manifest that can't be read stays hidden: that is how its owner ends a rotation that refuses because of
    it, and nobody can restore that backup.

    Raises
    ------
    FormatUnsupportedError, StoreUnavailableError
    """
    return {
        backup: holds
        for backup in hidden
        if (holds := _holds(store, backup.notes, moment)) and _is_readable(store, layout, backup)
    }


def bring_back(
    store: ObjectStore, catalogue: Catalogue, layout: Layout, backup_id: str, holds: Sequence[str]
) -> None:
    """Let a manifest be seen again.  The catalogue first: what is hidden still is found by the next rotation.

    No lock keeps a marker.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html#object-lock-managing-delete-markers

    Parameters
    ----------
    holds:
        Why, for the audit trail.

    Raises
    ------
    DeleteRefusedError, StoreUnavailableError, CatalogueUnavailableError
    """
    key = layout.manifest(backup_id)
    log("a backup that is held is brought back", database=layout.database, backup=backup_id)
    catalogue.audit(layout.database, "keep", backup_id, {"reasons": "; ".join(holds)})
    catalogue.undelete(layout.database, backup_id)
    markers = [version for version in store.versions(key) if version.key == key and version.marker]
    if store.delete_versions(markers):
        raise DeleteRefusedError(f"the store refused to delete the marker of {key}")


def _holds(store: ObjectStore, notes: Iterable[Note], moment: datetime) -> tuple[str, ...]:
    """The active holds among the notes, as reasons."""
    return tuple(f"held: {describe_hold(note, hold)}" for note, hold in active_holds(store, notes, moment))


def _is_readable(store: ObjectStore, layout: Layout, backup: Backup) -> bool:
    try:
        load_manifest(store, layout.database, backup.backup_id, version=backup.version)
    except ManifestInvalidError:
        return False
    return True
