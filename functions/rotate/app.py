"""Apply the retention policy to one database or to all."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.errors import RotationIncompleteError
from coffre.events import RotateRequest, parse
from coffre.rotate import run


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events.RotateRequest` for the event."""
    request = parse(RotateRequest, event)
    registry = wiring.registry()
    registered = {request.database: registry.get(request.database)} if request.database else registry.all()
    retentions = {name: registration.retention for name, registration in registered.items()}
    seconds = wiring.seconds_left(context)
    result = run.run(retentions, wiring.rotate_services(), dry_run=request.dry_run, seconds=seconds)
    if result.failed:
        raise RotationIncompleteError("; ".join(f"{name}: {error}" for name, error in result.failed.items()))
    return result.answer()
