"""A restore under way: what it works with, and what all of it needs to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from coffre.catalogue.index import Catalogue
from coffre.catalogue.meter import Meter
from coffre.databases.postgresql.encodings import codec_of
from coffre.databases.postgresql.role_map import map_roles
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools
from coffre.databases.registry import Registry
from coffre.errors import CoffreError, CopyIncompleteError, FunctionFailedError, ObjectMissingError
from coffre.events.restore import RestoreRequest
from coffre.notify.publisher import Publisher
from coffre.timing import Stopwatch
from coffre.vault.contents import Contents, read_contents, scratch_folder
from coffre.vault.keys import SealKeys
from coffre.vault.manifest import Manifest
from coffre.vault.presence import Look
from coffre.vault.reader import fetch_file, meant_backup
from coffre.vault.store import ObjectStore
from coffre.workers import Message, WorkerPool

NAMED_GAPS = 20
"""Objects that an error names at most."""


@dataclass(frozen=True)
class Services:
    """What a restore works with; see `coffre.backup.job.Services`.

    Attributes
    ----------
    store:
        Where the backup is read: the vault, or its copy.
    keys:
        Of sealed backups.
    take_backup:
        Calls the backup function and waits: (event, seconds to wait) -> its answer.
    start_machine:
        Starts the state machine: (name, input); None where there is none.
    """

    store: ObjectStore
    keys: SealKeys
    catalogue: Catalogue
    publisher: Publisher
    registry: Registry
    tools: Tools
    scratch: Path
    max_run_seconds: int
    start_workers: Callable[[Sequence[Message], Callable[[], None]], WorkerPool]
    take_backup: Callable[[dict[str, object], float], dict[str, object]]
    start_machine: Callable[[str, dict[str, Any]], None] | None = None

    def machine(self) -> Callable[[str, dict[str, Any]], None]:
        """What starts the state machine.

        Raises
        ------
        FunctionFailedError
            There is none.
        """
        if self.start_machine is None:
            raise FunctionFailedError("this function knows no state machine", "Deploy the template again.")
        return self.start_machine


@dataclass(frozen=True)
class Restore:
    """A restore under way.

    Attributes
    ----------
    wanted:
        The target as it was asked for.
    """

    services: Services
    request: RestoreRequest
    wanted: Target
    folder: Path
    watch: Stopwatch
    manifest: Manifest
    root_hash: str
    contents: Contents
    schema: Path
    meter: Meter


@contextmanager
def opened(request: RestoreRequest, target: Target, services: Services, seconds: float) -> Iterator[Restore]:
    """A restore of the backup that was asked for, its contents read; its scratch files go at the end."""
    watch = Stopwatch("the restore", min(seconds, services.max_run_seconds))
    backup = meant_backup(services.store, request.database, request.backup)
    manifest, digest, seal = services.keys.load(services.store, request.database, backup)
    services = replace(services, store=services.store.with_seal(seal))
    with scratch_folder(services.scratch, "restore") as folder:
        contents = read_contents(services.store, manifest, folder / "sections")
        if request.source == "copy":
            require_all(services, manifest, digest, folder, of_copy=True)
        schema = fetch_file(services.store, manifest.schema_file, folder / "schema")
        schema = mapped(schema, request, manifest)
        meter = _meter(services, request, manifest, manifest.totals.bytes)
        yield Restore(services, request, target, folder, watch, manifest, digest, contents, schema, meter)


def measured(restore: Restore, size: int) -> Restore:
    """The restore as one of so many bytes: of less than the whole backup."""
    return replace(restore, meter=_meter(restore.services, restore.request, restore.manifest, size))


def _meter(services: Services, request: RestoreRequest, manifest: Manifest, size: int) -> Meter:
    tell = partial(services.catalogue.run_progress, request.database, run_id_of(request, manifest))
    return Meter(tell, size)


def require_all(services: Services, manifest: Manifest, digest: str, folder: Path, *, of_copy: bool) -> None:
    """A copy may lack what its manifest names: what is to be restored is looked for before anything is made.

    So is what a restore of hours would miss at its end.

    A manifest that isn't the one that the catalogue knows is refused: replication can write over one.

    Parameters
    ----------
    folder:
        Of the restore's own, with the sections that `read_contents` wrote.

    Raises
    ------
    CopyIncompleteError, ObjectMissingError
        The latter of the vault itself.
    """
    where = f"{'the copy of ' if of_copy else ''}{manifest.id} in {services.store.bucket}"
    lacking: type[CoffreError] = CopyIncompleteError if of_copy else ObjectMissingError
    known = services.catalogue.backup(manifest.database, manifest.id)
    if known is not None and known.root_hash not in (None, digest):
        raise lacking(f"{where} has a manifest with root hash {digest}, expected {known.root_hash}")
    look = Look(services.store, folder / "sections", folder / "slices", most=NAMED_GAPS)
    presence = look.at(manifest)
    if presence.gaps:
        what = "; ".join(gap.message for gap in presence.gaps)
        raise lacking(f"{where} is incomplete: {what}{'; and more' if presence.more else ''}")


def options_of(request: RestoreRequest) -> tuple[str, ...]:
    """Options of pg_restore for what was asked for."""
    return ("--no-tablespaces", *(("--no-owner", "--no-privileges") if request.roles == "mine" else ()))


def mapped(archive: Path, request: RestoreRequest, manifest: Manifest) -> Path:
    """The archive with the roles that were asked for."""
    if not request.role_map:
        return archive
    out = archive.with_name(f"{archive.name}-mapped")
    map_roles(archive, out, request.role_map, codec_of(manifest.locale.encoding))
    archive.unlink()
    return out


def run_id_of(request: RestoreRequest, manifest: Manifest) -> str:
    """The run's name in the catalogue; a plan is confirmed by its token, which names the run as well."""
    return f"{manifest.id}-{(request.token or 'plan')[:12]}"
