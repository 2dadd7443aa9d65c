"""Prove one backup in the box; everything it may read stands behind the ticket's URL."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.events.base import parse
from coffre.events.verify import ProveRequest
from coffre.prove import run


def handler(event: dict[str, Any], _context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events.verify.ProveRequest` for the event."""
    return run.run(parse(ProveRequest, event), wiring.prove_services()).answer()
