"""Plan a restore or the undoing of one, or run the plan that was confirmed."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.databases.postgresql.urls import parse_secret
from coffre.events import RestoreRequest, parse
from coffre.restore import run, undo


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events.RestoreRequest` for the event."""
    request = parse(RestoreRequest, event)
    registry, services = wiring.registry(), wiring.restore_services()
    if request.target_secret is None:
        target = registry.target(registry.get(request.database))
    else:
        target = parse_secret(registry.secret(request.target_secret))
    seconds = wiring.seconds_left(context)
    if request.mode == "undo":
        change = undo.plan if request.action == "plan" else undo.run
        return change(request, target, services, seconds=seconds).answer()
    act = run.plan if request.action == "plan" else run.run
    return act(request, target, services, seconds=seconds).answer()
