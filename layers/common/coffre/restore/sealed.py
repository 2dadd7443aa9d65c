"""What a plan says of a sealed backup."""

from __future__ import annotations

from coffre.results import Finding
from coffre.vault.manifest import Manifest


def seal_findings(manifest: Manifest) -> list[Finding]:
    """Which key a restore takes; nothing if the backup isn't sealed."""
    if manifest.seal is None:
        return []
    key = manifest.seal.kms_key
    message = f"the backup is sealed: reading it takes the KMS key {key}"
    advice = "The key must be usable until the restore has ended."
    return [Finding(level="info", code="sealed", object=key, message=message, advice=advice)]
