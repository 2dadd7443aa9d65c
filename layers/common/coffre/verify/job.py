"""A verification under way, and what it works with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from coffre.catalogue.index import Catalogue
from coffre.catalogue.meter import Meter
from coffre.catalogue.rebuild import vault_databases
from coffre.databases.registration import Registration
from coffre.databases.registry import Registry
from coffre.errors import DeadlineExceededError, UnknownDatabaseError
from coffre.notify.publisher import Publisher
from coffre.vault.keys import SealKeys
from coffre.vault.manifest import Manifest
from coffre.vault.sealed_manifest import open_manifest
from coffre.vault.store import ObjectStore
from coffre.workers import Message, WorkerPool

ENDING_SECONDS = 20.0
"""Kept back of the function's time for the verdict."""


@dataclass(frozen=True)
class Services:
    """What a verification works with; see `coffre.backup.job.Services`.

    Attributes
    ----------
    copy:
        The second vault, that the first one is replicated into; None: there is none.
    keys:
        Of sealed backups.
    invoke_prove:
        Calls the `prove` of the event's ``major`` and waits: (event, seconds to wait) -> answer.
    """

    store: ObjectStore
    keys: SealKeys
    catalogue: Catalogue
    publisher: Publisher
    registry: Registry
    scratch: Path
    max_run_seconds: int
    start_workers: Callable[[Sequence[Message], Callable[[], None]], WorkerPool]
    invoke_prove: Callable[[dict[str, object], float], dict[str, object]]
    copy: ObjectStore | None = None


def opened(manifest: Manifest, services: Services) -> tuple[Manifest, Services]:
    """All of a manifest, and the services with what opens its backup.

    Raises
    ------
    SealKeyUnavailableError, SealBrokenError, KeyServiceUnavailableError
    """
    seal = services.keys.of(manifest)
    copy = services.copy.with_seal(seal) if services.copy is not None else None
    return open_manifest(manifest, seal), replace(services, store=services.store.with_seal(seal), copy=copy)


def databases_to_read(services: Services, asked: str | None) -> list[str]:
    """Those of which the vault holds something: all, or the one that is asked for.

    Raises
    ------
    UnknownDatabaseError
        If the vault holds nothing of the one that is asked for, and nobody has registered it.
    """
    found = vault_databases(services.store)
    if asked is None:
        return found
    if asked not in found:
        services.registry.get(asked)
    return [name for name in found if name == asked]


@dataclass(frozen=True)
class Verification:
    """One verification under way.

    Attributes
    ----------
    spool:
        Where the parts' sections are.
    ends:
        When it must be over, on `time.monotonic`'s clock.
    hidden:
        Versions of objects that lie behind a delete marker or another version, by key.
    """

    services: Services
    manifest: Manifest
    digest: str
    spool: Path
    ends: float
    meter: Meter
    hidden: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> ObjectStore:
        """The vault."""
        return self.services.store

    @property
    def seconds_left(self) -> float:
        """Seconds until the verdict must be written."""
        return self.ends - ENDING_SECONDS - time.monotonic()

    @cached_property
    def registration(self) -> Registration:
        """The database's registration; a backup outlives it."""
        try:
            return self.services.registry.get(self.manifest.database)
        except UnknownDatabaseError:
            return Registration(secret="-")  # noqa: S106 - there is none

    def check_time(self) -> None:
        """Raise a `DeadlineExceededError` once there is no time left."""
        if self.seconds_left < 0:
            raise DeadlineExceededError(f"{self.manifest.id} could not be read back in the function's time")
