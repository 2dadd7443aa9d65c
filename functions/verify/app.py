"""Read a backup back, have it proven, keep the evidence; read a slice of the vault again; check copies."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.events.base import parse
from coffre.events.verify import CopyRequest, RecheckRequest, VerifyRequest
from coffre.verify import copies, run


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point.

    An event with the action ``copy`` is a `CopyRequest`, with another one a `RecheckRequest`, every other one
    a `VerifyRequest` in one of its two forms; see `coffre.events.verify`.
    """
    seconds = wiring.seconds_left(context)
    if isinstance(event, dict) and event.get("action") == "copy":
        services = wiring.verify_services(copy=True)
        return copies.run(parse(CopyRequest, event), services, seconds=seconds).answer()
    services = wiring.verify_services()
    if isinstance(event, dict) and "action" in event:
        return run.reread(parse(RecheckRequest, event), services, seconds=seconds).answer()
    return run.run(VerifyRequest.from_event(event), services, seconds=seconds).answer()
