"""Plan a restore into a new database, or run the plan that was confirmed."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.databases.postgresql.urls import parse_secret
from coffre.events import RestoreRequest, parse
from coffre.restore import run


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events.RestoreRequest` for the event."""
    request = parse(RestoreRequest, event)
    target = parse_secret(wiring.registry().secret(request.target_secret))
    act = run.plan if request.action == "plan" else run.run
    return act(request, target, wiring.restore_services(), seconds=wiring.seconds_left(context)).answer()
