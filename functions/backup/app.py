"""Back up one database, start a backup of every one that a schedule covers, plan one, or do a step of one."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.events.backup import BackupRequest, MachineEnded, PlanRequest, StepRequest, read
from coffre.results import Result


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events.backup.read` for the events."""
    request = read(event)
    if isinstance(request, StepRequest | MachineEnded):
        return _on_the_machine(request, context).answer()
    if request.database is None:
        return wiring.fan_out(context, request, lambda entry: request.type in entry.types).answer()
    return _of_one(request, request.database, wiring.seconds_left(context)).answer()


def _of_one(request: BackupRequest | PlanRequest, database: str, seconds: float) -> Result:
    registry, services = wiring.registry(), wiring.backup_services()
    registration = registry.get(database)
    if isinstance(request, PlanRequest):
        from coffre.backup.forecast import make_plan  # each imports what it needs, and nothing more

        target = registry.source(registration, "manual").target
        return make_plan(target, registration, services, database, seconds=seconds)
    from coffre.backup import run

    source = registry.source(registration, request.type)
    return run.run(request, registration, source, services, seconds=seconds)


def _on_the_machine(request: StepRequest | MachineEnded, context: wiring.Context) -> Result:
    from coffre.backup import abort, steps

    if isinstance(request, MachineEnded):
        return abort.clean_up(wiring.backup_services(), request)
    if request.step == "abort":
        return abort.abort(wiring.backup_services(), request.run, request.error)
    return steps.do(request, *wiring.machine_job(request.run, context))
