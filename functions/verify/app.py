"""Read a backup back, have it proven, keep the evidence; or read a slice of the vault again."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.events import RecheckRequest, VerifyRequest, parse
from coffre.verify import run


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point.

    An event with an ``action`` is a `coffre.events.RecheckRequest`, every other one a
    `coffre.events.VerifyRequest` in one of its two forms.
    """
    services, seconds = wiring.verify_services(), wiring.seconds_left(context)
    if isinstance(event, dict) and "action" in event:
        return run.reread(parse(RecheckRequest, event), services, seconds=seconds).answer()
    return run.run(VerifyRequest.from_event(event), services, seconds=seconds).answer()
