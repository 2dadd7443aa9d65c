"""Back up one database, start a backup of every one that a schedule covers, plan one, or do a step of one."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.events.backup import BackupRequest, MachineEnded, PlanRequest, StepRequest
from coffre.events.base import parse
from coffre.results import BackupPlan, BackupResult, FanOutResult, Result


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events` for the events.

    `BackupRequest` asks for backups, `PlanRequest` for a plan; the state machine sends `StepRequest`, and
    EventBridge `MachineEnded`.
    """
    asked = event if isinstance(event, dict) else {}
    if "step" in asked:
        return _step(parse(StepRequest, event), context).answer()
    if "detail" in asked:
        return _ended(MachineEnded.from_event(event)).answer()
    if "action" in asked:
        return _plan(parse(PlanRequest, event), wiring.seconds_left(context)).answer()
    return _back_up(parse(BackupRequest, event), context).answer()


def _back_up(request: BackupRequest, context: wiring.Context) -> Result:
    from coffre.backup import run  # the others need none of it

    if request.database is None:
        return _fan_out(request, context)
    registry = wiring.registry()
    registration = registry.get(request.database)
    source, services = registry.source(registration, request.type), wiring.backup_services()
    if request.preflight_only:
        findings = run.check(source, registration, services, database=request.database)
        return BackupResult(database=request.database, backup_id="", status="checked", findings=findings)
    return run.run(request, registration, source, services, seconds=wiring.seconds_left(context))


def _fan_out(request: BackupRequest, context: wiring.Context) -> FanOutResult:
    due = [name for name, entry in wiring.registry().all().items() if request.type in entry.types]
    return wiring.fan_out(context.function_name, request.model_dump(mode="json"), due)


def _plan(request: PlanRequest, seconds: float) -> BackupPlan:
    from coffre.backup.forecast import make_plan

    registry, services = wiring.registry(), wiring.backup_services()
    registration = registry.get(request.database)
    target = registry.source(registration, "manual").target
    return make_plan(target, registration, services, request.database, seconds=seconds)


def _step(request: StepRequest, context: wiring.Context) -> Result:
    from coffre.backup import abort, steps

    if request.step == "abort":
        return abort.abort(wiring.backup_services(), request.run, request.error)
    return steps.do(request, *wiring.machine_job(request.run, context))


def _ended(ended: MachineEnded) -> Result:
    from coffre.backup import abort

    return abort.clean_up(wiring.backup_services(), ended)
