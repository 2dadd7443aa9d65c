"""Report on the databases and on the age of their backups and proofs."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.events import HealthRequest, parse
from coffre.health import run


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events.HealthRequest` for the event."""
    request = parse(HealthRequest, event)
    return run.run(request, wiring.health_services(), seconds=wiring.seconds_left(context)).answer()
