"""Which of its events the restore function got."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coffre.events.base import parse
from coffre.events.restore import DrillRequest, RestoreRequest

if TYPE_CHECKING:
    from coffre.events.restore_machine import MachineEvent


def read(event: object) -> RestoreRequest | DrillRequest | MachineEvent:
    """What the restore function is asked: by somebody, by its state machine, or by EventBridge.

    Raises
    ------
    InvalidEventError
    """
    asked = event if isinstance(event, dict) else {}
    if asked.keys() & {"step", "detail"} or asked.get("action") == "resume":
        from coffre.events.restore_machine import read_machine_event  # the others need none of it

        return read_machine_event(asked)
    return parse(DrillRequest, event) if asked.get("action") == "drill" else parse(RestoreRequest, event)
