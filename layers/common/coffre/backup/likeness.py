"""Compare a backup that is about to be committed with the newest one that exists."""

from __future__ import annotations

from coffre.errors import (
    FormatUnsupportedError,
    KeyServiceUnavailableError,
    ManifestInvalidError,
    ObjectCorruptError,
    ObjectMissingError,
    SealBrokenError,
    SealKeyUnavailableError,
    UnknownBackupError,
)
from coffre.results import Finding
from coffre.vault.keys import SealKeys
from coffre.vault.likeness import differences
from coffre.vault.manifest import Manifest
from coffre.vault.store import ObjectStore


def unlike_last(store: ObjectStore, keys: SealKeys, manifest: Manifest) -> list[Finding]:
    """What makes it unlike the newest backup; nothing if there is none, or it can't be read (any more)."""
    try:
        before, _, _ = keys.load(store, manifest.database, "latest", store.seal)
    except (
        FormatUnsupportedError,
        KeyServiceUnavailableError,
        ManifestInvalidError,
        ObjectCorruptError,
        ObjectMissingError,
        SealBrokenError,
        SealKeyUnavailableError,
        UnknownBackupError,
    ):
        return []
    return differences(before, manifest)
