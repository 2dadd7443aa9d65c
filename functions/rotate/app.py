"""Apply the retention policy to one database or to all; hold a backup, or release it."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.databases.registry import Registered
from coffre.errors import RotationIncompleteError
from coffre.events.base import parse
from coffre.events.rotate import HoldRequest, RotateRequest
from coffre.rotate import hold, run


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events` for the events: `RotateRequest`, or `HoldRequest`."""
    seconds = wiring.seconds_left(context)
    if isinstance(event, dict) and "action" in event:
        return hold.run(parse(HoldRequest, event), wiring.rotate_services(), seconds=seconds).answer()
    request = parse(RotateRequest, event)
    registry, name = wiring.registry(), request.database
    registered = Registered({name: registry.get(name)}) if name else registry.all()
    retentions = {name: registration.retention for name, registration in registered.valid.items()}
    result = run.run(retentions, wiring.rotate_services(), dry_run=request.dry_run, seconds=seconds)
    failed = {**registered.invalid, **result.failed}
    if failed:
        raise RotationIncompleteError("; ".join(f"{name}: {error}" for name, error in failed.items()))
    return result.answer()
