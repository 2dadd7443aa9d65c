"""Keeping what a restore did."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from coffre.catalogue.entries import RestoreEntry
from coffre.catalogue.index import Catalogue
from coffre.errors import CatalogueUnavailableError, describe
from coffre.ids import stamp, utc_now
from coffre.observability import log


def remember(
    catalogue: Catalogue, entry: RestoreEntry, started: datetime, error: BaseException | None
) -> None:
    """Record what ended now, with the time that it took.

    A catalogue that is away changes nothing about what was done, so that is only logged.

    Parameters
    ----------
    entry:
        As if it had been completed.
    error:
        With which it ended instead.
    """
    now = utc_now()
    entry = replace(entry, time=stamp(now), milliseconds=round((now - started).total_seconds() * 1000))
    if error is not None:
        fault = describe(error)
        entry = replace(
            entry,
            status="failed",
            kept_as=None,
            error_code=fault["code"],
            error_message=fault["message"],
        )
    try:
        catalogue.record_restore(entry)
    except CatalogueUnavailableError as away:
        log("a restore is missing in the history", database=entry.database, reason=away.message)
