"""Back up one database, start a backup of every database that a schedule covers, or plan one."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.backup import run
from coffre.events import BackupRequest, PlanRequest, parse
from coffre.results import BackupPlan, BackupResult, FanOutResult


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point; see `coffre.events` for the events: `BackupRequest`, or `PlanRequest`."""
    if isinstance(event, dict) and "action" in event:
        return _plan(parse(PlanRequest, event), wiring.seconds_left(context)).answer()
    request = parse(BackupRequest, event)
    if request.database is None:
        return _fan_out(request, context).answer()
    registry = wiring.registry()
    registration = registry.get(request.database)
    target, services = registry.target(registration), wiring.backup_services()
    if request.preflight_only:
        findings = run.check(target, services, database=request.database)
        return BackupResult(
            database=request.database, backup_id="", status="checked", findings=findings
        ).answer()
    return run.run(request, registration, target, services, seconds=wiring.seconds_left(context)).answer()


def _fan_out(request: BackupRequest, context: wiring.Context) -> FanOutResult:
    due = [name for name, entry in wiring.registry().all().items() if request.type in entry.types]
    for name in due:
        one = request.model_copy(update={"database": name})
        wiring.invoke_later(context.function_name, one.model_dump(mode="json"))
    return FanOutResult(started=due)


def _plan(request: PlanRequest, seconds: float) -> BackupPlan:
    from coffre.backup.forecast import make_plan  # a backup itself needs none of it

    registry = wiring.registry()
    target = registry.target(registry.get(request.database))
    return make_plan(target, wiring.catalogue(), database=request.database, seconds=seconds)
