"""Plan a restore or the undoing of one, run what was confirmed, rehearse a restore, or do a step of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coffre import wiring
from coffre.events.restore import DrillRequest, RestoreRequest
from coffre.events.restore_kinds import read
from coffre.results import Result

if TYPE_CHECKING:
    from coffre.events.restore_machine import MachineEvent


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events.restore_kinds.read` for the events."""
    request = read(event)
    seconds = wiring.seconds_left(context)
    if isinstance(request, RestoreRequest):
        from coffre.restore import run, tables, undo  # each imports what it needs, and nothing more

        services, target = wiring.restore_services(request.source), wiring.restore_target(request)
        kind = {"undo": undo, "tables": tables}.get(request.mode, run)
        act = kind.plan if request.action == "plan" else kind.run
        answer: dict[str, Any] = act(request, target, services, seconds=seconds).answer()
        return answer
    if not isinstance(request, DrillRequest):
        return _on_the_machine(request, context).answer()
    if request.database is None:
        return wiring.fan_out(context, request, lambda entry: entry.scratch is not None).answer()
    from coffre.restore import drill

    return drill.run(request.database, request, wiring.restore_services(), seconds=seconds).answer()


def _on_the_machine(request: MachineEvent, context: wiring.Context) -> Result:
    from coffre.events.restore_machine import RestoreEnded, ResumeRequest
    from coffre.restore import ending, machine, steps

    if isinstance(request, ResumeRequest):
        services = wiring.restore_services()
        run = machine.failed_run(request, services)
        return machine.resume(run, wiring.restore_target(run.request), services)
    if isinstance(request, RestoreEnded):
        return ending.clean_up(wiring.restore_services(), request, wiring.late_target(request.run))
    if request.step == "abort":
        target = wiring.late_target(request.run)
        return ending.abort(wiring.restore_services(), request.run, request.error, target)
    return steps.do(request, wiring.restore_job(request.run, context))
