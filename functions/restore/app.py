"""Plan a restore or the undoing of one, run what was confirmed, rehearse a restore, or do a step of one."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.events.base import parse
from coffre.events.restore import DrillRequest, RestoreRequest


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point.

    See `coffre.events.restore`, and `coffre.events.restore_machine` for what belongs to the state machine.
    """
    asked = event if isinstance(event, dict) else {}
    if asked.keys() & {"step", "detail"} or asked.get("action") == "resume":
        return _on_the_machine(asked, context)
    if asked.get("action") == "drill":
        return _drill(parse(DrillRequest, event), context)
    from coffre.restore import run, tables, undo  # the others need none of it

    request = parse(RestoreRequest, event)
    services, target = wiring.restore_services(request.source), wiring.restore_target(request)
    kind = {"undo": undo, "tables": tables}.get(request.mode, run)
    act = kind.plan if request.action == "plan" else kind.run
    answer: dict[str, Any] = act(request, target, services, seconds=wiring.seconds_left(context)).answer()
    return answer


def _on_the_machine(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    from coffre.events import restore_machine as events
    from coffre.restore import ending, machine, steps

    if "detail" in event:
        ended = events.RestoreEnded.from_event(event)
        target = wiring.late_target(ended.run)
        return ending.clean_up(wiring.restore_services(), ended, target).answer()
    if "step" not in event:
        request, services = parse(events.ResumeRequest, event), wiring.restore_services()
        run = machine.failed_run(request, services)
        return machine.resume(run, wiring.restore_target(run.request), services).answer()
    step = parse(events.RestoreStepRequest, event)
    if step.step == "abort":
        services = wiring.restore_services()
        return ending.abort(services, step.run, step.error, wiring.late_target(step.run)).answer()
    return steps.do(step, wiring.restore_job(step.run, context)).answer()


def _drill(request: DrillRequest, context: wiring.Context) -> dict[str, Any]:
    from coffre.restore import drill

    if request.database is None:
        due = [name for name, entry in wiring.registry().all().items() if entry.scratch is not None]
        event = {"action": "drill", "exercise": request.exercise}
        return wiring.fan_out(context.function_name, event, due).answer()
    services = wiring.restore_services()
    return drill.run(request.database, request, services, seconds=wiring.seconds_left(context)).answer()
