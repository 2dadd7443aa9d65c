"""Keeping what a restore did."""

from __future__ import annotations

from coffre.catalogue.entries import RestoreEntry
from coffre.catalogue.index import Catalogue
from coffre.errors import CatalogueUnavailableError
from coffre.observability import log


def remember(catalogue: Catalogue, entry: RestoreEntry) -> None:
    """Record it; a catalogue that is away changes nothing about what was done, so it is only logged."""
    try:
        catalogue.record_restore(entry)
    except CatalogueUnavailableError as error:
        log("a restore is missing in the history", database=entry.database, reason=error.message)
