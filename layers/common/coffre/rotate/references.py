"""Which chunks backups name.  Each manifest is read once; references are read by several threads."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

from coffre.errors import ManifestInvalidError, ObjectMissingError
from coffre.rotate.inventory import Backup
from coffre.vault.layout import Layout
from coffre.vault.manifest import RefsFile
from coffre.vault.reader import load_manifest
from coffre.vault.refs import read_files
from coffre.vault.store import ObjectStore

THREADS = 4
"""Files of references that are read at a time: hundreds of backups have thousands of them, of 2 MB each."""


class References:
    """The references of backups, for one look at the vault after the other.

    Parameters
    ----------
    lenient:
        Pass over a backup whose manifest isn't valid or whose own files are gone: nobody can be reading it.
    """

    def __init__(
        self, store: ObjectStore, layout: Layout, backups: Collection[Backup], *, lenient: bool = False
    ) -> None:
        self._store = store
        self._layout = layout
        self._backups = backups
        self._lenient = lenient
        self._files: dict[Backup, list[RefsFile]] = {}

    def unnamed(self, ids: Iterable[bytes]) -> set[bytes]:
        """Those of these chunks that none of the backups names.

        Raises
        ------
        ManifestInvalidError, FormatUnsupportedError, ObjectMissingError, ObjectCorruptError
            If the references of one of them can't be read.
        StoreUnavailableError
        """
        # Most chunks are in every backup: after the first one few are left to look for, which is fast.
        missing = set(ids)
        if not missing or not self._backups:
            return missing
        first, last = min(missing)[0], max(missing)[0]
        with ThreadPoolExecutor(min(THREADS, len(self._backups))) as threads:
            for _ in threads.map(lambda backup: self._take(backup, missing, first, last), self._backups):
                pass
        return missing

    def _take(self, backup: Backup, missing: set[bytes], first: int, last: int) -> None:
        """Take a backup's chunks out of what is missing."""
        try:
            for ids in read_files(self._store, self._of(backup), first=first, last=last):
                missing.difference_update(missing.intersection(ids))
        except (ManifestInvalidError, ObjectMissingError):
            if not self._lenient:
                raise

    def _of(self, backup: Backup) -> Iterable[RefsFile]:
        if backup not in self._files:
            name, version = backup.backup_id, backup.version
            manifest, _ = load_manifest(self._store, self._layout.database, name, version=version)
            self._files[backup] = manifest.refs
        return self._files[backup]
