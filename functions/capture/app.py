"""Capture one batch of a backup on the state machine."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.backup.batch import capture_batch
from coffre.events.backup import CaptureRequest
from coffre.events.base import parse_step


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events.backup.CaptureRequest` for the event."""
    request = parse_step(CaptureRequest, event)
    job, services = wiring.machine_job(request.run, context)
    left, reading = wiring.seconds_left(context), wiring.settings().capture_seconds
    return capture_batch(job, services, request.batch, seconds=left, reading_seconds=reading).answer()
