"""Read a backup back, have it proven, keep the evidence; started by the creation of its manifest."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.events import VerifyRequest
from coffre.verify import run


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events.VerifyRequest` for the two forms of the event."""
    request = VerifyRequest.from_event(event)
    return run.run(request, wiring.verify_services(), seconds=wiring.seconds_left(context)).answer()
