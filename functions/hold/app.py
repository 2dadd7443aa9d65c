"""Hold the snapshot of a backup on the state machine, until a successor has it or nobody needs it."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.backup.hold import hold
from coffre.events.backup import HolderRequest
from coffre.events.base import parse_step


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events.backup.HolderRequest` for the event."""
    request = parse_step(HolderRequest, event)
    token = wiring.task_token(request.token)
    job, services = wiring.machine_job(request.run, context)
    left, pass_on = wiring.seconds_left(context), wiring.settings().hold_seconds
    return hold(job, services, token, seconds=left, pass_on_seconds=pass_on).answer()
