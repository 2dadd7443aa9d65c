"""Keeping what a restore did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from coffre.catalogue.entries import RestoreEntry
from coffre.catalogue.index import Catalogue
from coffre.errors import CatalogueUnavailableError, describe
from coffre.ids import stamp, utc_now
from coffre.observability import log
from coffre.restore.job import Restore, run_id_of


@contextmanager
def recorded(
    restore: Restore,
    deadline: datetime,
    audited: Mapping[str, str],
    told: Callable[[BaseException | None], None],
) -> Iterator[None]:
    """A confirmed restore's changes: told to catalogue and audit trail before, to the history after.

    A failure is published, too.

    Parameters
    ----------
    deadline:
        Until when it reads the backup at the latest.
    audited:
        What the audit trail keeps.
    told:
        Called with what it failed with, or None, when it has ended.
    """
    catalogue, database, backup = restore.services.catalogue, restore.request.database, restore.manifest.id
    run_id = run_id_of(restore.request, restore.manifest)
    catalogue.start_run(database, "restore", run_id, deadline, backup)
    catalogue.audit(database, "restore", backup, dict(audited))
    try:
        yield
    except BaseException as error:
        told(error)
        fault = {"database": database, "backup_id": backup, **describe(error)}
        restore.services.publisher.publish_failure("Restore Failed", fault, error)
        raise
    finally:
        catalogue.end_run(database, run_id)
    told(None)


def remember(
    catalogue: Catalogue, entry: RestoreEntry, started: datetime, error: BaseException | None
) -> None:
    """Record what ended now, with the time that it took; see `keep`.

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
    keep(catalogue, entry)


def keep(catalogue: Catalogue, entry: RestoreEntry) -> None:
    """Record a restore.  A catalogue that is away changes nothing about what was done, and is only logged."""
    try:
        catalogue.record_restore(entry)
    except CatalogueUnavailableError as away:
        log("a restore is missing in the history", database=entry.database, reason=away.message)
