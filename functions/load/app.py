"""Do one item of a restore on the state machine: load rows, read them back, or build what follows them."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.events.base import parse_step
from coffre.events.restore_machine import LoadRequest
from coffre.restore.items import Clock, do_item


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events.restore_machine.LoadRequest` for the event."""
    request = parse_step(LoadRequest, event)
    left, working = wiring.seconds_left(context), wiring.settings().load_seconds
    job = wiring.restore_job(request.run, context)
    return do_item(job, request.item, Clock(left, working)).answer()
