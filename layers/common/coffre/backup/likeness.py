"""Compare a backup that is about to be committed with the newest one that exists."""

from __future__ import annotations

from coffre.errors import (
    FormatUnsupportedError,
    ManifestInvalidError,
    ObjectCorruptError,
    ObjectMissingError,
    UnknownBackupError,
)
from coffre.results import Finding
from coffre.vault.likeness import differences
from coffre.vault.manifest import Manifest
from coffre.vault.reader import load_manifest
from coffre.vault.store import ObjectStore


def unlike_last(store: ObjectStore, manifest: Manifest) -> list[Finding]:
    """What makes it unlike the newest backup; nothing if there is none, or it can't be read."""
    try:
        before, _ = load_manifest(store, manifest.database, "latest")
    except (
        FormatUnsupportedError,
        ManifestInvalidError,
        ObjectCorruptError,
        ObjectMissingError,
        UnknownBackupError,
    ):
        return []
    return differences(before, manifest)
