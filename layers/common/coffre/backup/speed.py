"""What makes backups on this machine slower than they could be."""

from __future__ import annotations

from coffre.compiled import compiled
from coffre.results import Finding


def speed_findings() -> list[Finding]:
    """Says so if the compiled inner loops can't be loaded here: rows are then taken apart in Python."""
    if compiled() is not None:
        return []
    return [
        Finding(
            level="info",
            code="not-compiled",
            object="coffre_native",
            message="the compiled inner loops can't be loaded here: rows are read rightly, but more slowly",
            advice="Deploy a layer that `make build` made; on a laptop `make install` says what failed.",
        )
    ]
