"""The seal of a new backup, and a look at it before one is taken."""

from __future__ import annotations

from dataclasses import replace

from coffre.backup.job import Job, Services
from coffre.catalogue.ledger import Progress
from coffre.databases.registration import Registration
from coffre.errors import KeyServiceUnavailableError, SealBrokenError, SealKeyUnavailableError
from coffre.ids import utc_now
from coffre.results import Finding
from coffre.vault.keys import SealKeys
from coffre.vault.manifest import SealKey
from coffre.vault.store import ObjectStore


def sealing(job: Job, services: Services, before: Progress | None = None) -> Services:
    """The same, whose store seals what it writes, if the registration asks for it.

    Parameters
    ----------
    before:
        An earlier attempt on the state machine: what it stored is found again under its key.

    Raises
    ------
    SealKeyUnavailableError, SealBrokenError, KeyServiceUnavailableError, StoreUnavailableError
    """
    asked, store = job.registration, services.store
    key = SealKey.model_validate_json(before.seal) if before is not None and before.seal else None
    seal = services.keys.for_backup(store, job.database, asked.seal_key, job.started, asked.seal_since, key)
    return replace(services, store=store.with_seal(seal))


def as_begun(services: Services, run: Progress | None) -> Services:
    """The same, whose store seals as the run on the state machine was begun, whatever is registered by now.

    Raises
    ------
    SealKeyUnavailableError, SealBrokenError, KeyServiceUnavailableError
    """
    if run is None or not run.seal:
        return services
    seal = services.keys.unwrap(SealKey.model_validate_json(run.seal))
    return replace(services, store=services.store.with_seal(seal))


def seal_findings(
    keys: SealKeys, store: ObjectStore, database: str, registration: Registration
) -> list[Finding]:
    """What the seal of a backup would be, or why there can't be one; nothing if none is asked for."""
    kms_key = registration.seal_key
    if kms_key is None:
        return []
    try:
        keys.for_backup(store, database, kms_key, utc_now(), registration.seal_since)
    except (SealKeyUnavailableError, SealBrokenError, KeyServiceUnavailableError) as error:
        return [
            Finding(level="refuse", code=error.code, object=kms_key, message=error.message, advice=error.hint)
        ]
    message = f"backups are sealed with the KMS key {kms_key}, which works"
    return [Finding(level="info", code="sealed", object=kms_key, message=message)]
