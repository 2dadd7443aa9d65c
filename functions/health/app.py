"""Report on the databases and on the age of their backups and proofs, or ask one application once."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.events.base import parse
from coffre.events.health import HealthRequest, ProbeRequest
from coffre.health import probe, run


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events.health` for the events."""
    seconds = wiring.seconds_left(context)
    if isinstance(event, dict) and event.get("action") == "probe":
        return probe.run(parse(ProbeRequest, event), wiring.registry(), seconds=seconds).answer()
    request = parse(HealthRequest, event)
    return run.run(request, wiring.health_services(), seconds=seconds).answer()
