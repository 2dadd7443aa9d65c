"""Reading a vault's chunks again, a slice a day: bytes may rot long after the backup was verified.

A chunk's id is a hash of its content, so ids are spread evenly: their 256 first bytes cut a vault of any
size into equal slices.  Each run reads those that are due, so that a round is done within the period and
reads no chunk twice; a run that is cut short goes on where it stopped.  Nothing but a chunk's own bytes is
trusted: a store's recorded checksum says what was written once, not what is there now
(``docs/decisions/0016-recheck-by-reading.md``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from coffre.catalogue.entries import Recheck
from coffre.catalogue.index import Catalogue
from coffre.errors import (
    CoffreError,
    FormatUnsupportedError,
    ManifestInvalidError,
    ObjectCorruptError,
    ObjectMissingError,
    UnknownBackupError,
)
from coffre.ids import stamp, utc_now
from coffre.results import Finding, RecheckReport
from coffre.vault.layout import Layout
from coffre.vault.locate import check_chunk
from coffre.vault.manifest import Manifest
from coffre.vault.reader import list_backups, load_manifest
from coffre.vault.refs import read_ids
from coffre.vault.store import ObjectStore

SLICES = 256
THREADS = 8


@dataclass(frozen=True)
class Services:
    """What re-reading works with.

    Attributes
    ----------
    accuse:
        Records the damage as evidence against a backup that needs the chunk.
    now:
        Tells the time.
    """

    store: ObjectStore
    catalogue: Catalogue
    accuse: Callable[[Manifest, str, list[Finding]], None]
    now: Callable[[], datetime] = utc_now


def recheck(database: str, services: Services, *, days: int, ends: float) -> RecheckReport:
    """Read the slices of one database's vault that are due.

    Parameters
    ----------
    days:
        The period in which every chunk is to be read once.
    ends:
        When to stop, by `time.monotonic`; what is left is due in the next run.

    Returns
    -------
    RecheckReport
        Its findings name what is damaged.

    Raises
    ------
    StoreUnavailableError, CatalogueUnavailableError
        That says nothing about the chunks.
    """
    now = services.now()
    state = services.catalogue.recheck(database) or Recheck(database, 0, stamp(now))
    age = now - datetime.fromisoformat(state.started)
    if state.next >= SLICES and age >= timedelta(days=days):
        state, age = Recheck(database, 0, stamp(now)), timedelta()
    due = min(SLICES, -(-SLICES * (age // timedelta(days=1) + 1) // days))
    reader = _Reader(database, services, ends)
    while state.next < due and reader.slice(state.next):
        state = Recheck(database, state.next + 1, state.started)
        services.catalogue.record_recheck(state)
    return RecheckReport(
        database=database,
        chunks=reader.chunks,
        bytes=reader.bytes,
        slices_done=state.next,
        slices_due=due,
        round_started=state.started,
        findings=reader.findings,
    )


class _Reader:
    """One run over a few slices."""

    def __init__(self, database: str, services: Services, ends: float) -> None:
        self._layout = Layout(database)
        self._services = services
        self._store = services.store
        self._ends = ends
        self.chunks = 0
        self.bytes = 0
        self.findings: list[Finding] = []

    def slice(self, first: int) -> bool:
        """Read all chunks whose id begins with this byte; False if time ran out before the end."""
        needed = self._needed(first)
        sizes = self._sizes(first)
        damaged: dict[str, Finding] = {}
        with ThreadPoolExecutor(THREADS, "recheck") as threads:
            waiting = iter(sorted(needed))
            while some := list(islice(waiting, THREADS)):
                if time.monotonic() > self._ends:
                    self._accuse(first, damaged)
                    return False
                for chunk_id, found in zip(some, threads.map(self._check, some), strict=True):
                    self.chunks += 1
                    self.bytes += sizes.get(chunk_id, 0)
                    if found is not None:
                        damaged[chunk_id] = found
        self._accuse(first, damaged)
        return True

    def _needed(self, first: int) -> set[str]:
        """The chunks of this slice that live backups name: 32 bytes each, a 256th of the vault's."""
        needed: set[str] = set()
        for manifest, _ in self._manifests():
            needed.update(chunk_id.hex() for chunk_id in self._ids(manifest, first))
        return needed

    def _manifests(self) -> Iterator[tuple[Manifest, str]]:
        for backup_id in list_backups(self._store, self._layout.database):
            try:
                yield load_manifest(self._store, self._layout.database, backup_id)
            except UnknownBackupError:
                continue  # rotated away since it was listed
            except (ManifestInvalidError, FormatUnsupportedError) as error:
                self._report(_refusal(error, backup_id))

    def _ids(self, manifest: Manifest, first: int) -> list[bytes]:
        """A backup's chunks of this slice; references that can't be read are a finding."""
        try:
            return [i for i in read_ids(self._store, manifest, first=first, last=first) if i[0] == first]
        except (ObjectCorruptError, ObjectMissingError) as error:
            self._report(_refusal(error, manifest.id))
            return []

    def _report(self, finding: Finding) -> None:
        """Each finding once, in however many slices it is met."""
        if finding not in self.findings:
            self.findings.append(finding)

    def _sizes(self, first: int) -> Mapping[str, int]:
        folder = f"{self._layout.chunks}{first:02x}/"
        return {item.key.removeprefix(folder): item.size for item in self._store.objects(folder)}

    def _check(self, chunk_id: str) -> Finding | None:
        """What is wrong with a chunk; None if some version of it is right: readers find that one."""
        key = self._layout.chunk(chunk_id)
        try:
            self._read(key, None)
        except (ObjectCorruptError, ObjectMissingError) as error:
            if self._hidden(key):
                return None
            return _refusal(error, key)
        return None

    def _hidden(self, key: str) -> bool:
        for version in self._store.versions(key):
            if version.key != key or version.marker:
                continue
            try:
                self._read(key, version.version)
            except (ObjectCorruptError, ObjectMissingError):
                continue
            return True
        return False

    def _read(self, key: str, version: str | None) -> None:
        with self._store.get(key, version) as body:
            check_chunk(body, key)

    def _accuse(self, first: int, damaged: Mapping[str, Finding]) -> None:
        """Every backup that names a damaged chunk loses its verdict."""
        self.findings += damaged.values()
        if not damaged:
            return
        for manifest, digest in self._manifests():
            own = [damaged[i.hex()] for i in self._ids(manifest, first) if i.hex() in damaged]
            if own:
                self._services.accuse(manifest, digest, own)


def _refusal(error: CoffreError, what: str) -> Finding:
    return Finding(level="refuse", code=error.code, object=what, message=error.message, advice=error.hint)
