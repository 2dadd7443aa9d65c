"""Plan a restore or the undoing of one, run the plan that was confirmed, or rehearse a restore."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.databases.postgresql.urls import parse_secret
from coffre.errors import NoScratchServerError
from coffre.events import DrillRequest, RestoreRequest, parse
from coffre.restore import drill, run, tables, undo


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:
    """Lambda's entry point.

    See `coffre.events.RestoreRequest` and, for the action ``drill``, `coffre.events.DrillRequest`.
    """
    if isinstance(event, dict) and event.get("action") == "drill":
        return _drill(parse(DrillRequest, event), context)
    request = parse(RestoreRequest, event)
    registry, services = wiring.registry(), wiring.restore_services(request.source)
    if request.target_secret is None:
        target = registry.target(registry.get(request.database))
    else:
        target = parse_secret(registry.secret(request.target_secret))
    seconds = wiring.seconds_left(context)
    kind = {"undo": undo, "tables": tables}.get(request.mode, run)
    act = kind.plan if request.action == "plan" else kind.run
    answer: dict[str, Any] = act(request, target, services, seconds=seconds).answer()
    return answer


def _drill(request: DrillRequest, context: wiring.Context) -> dict[str, Any]:
    registry, database = wiring.registry(), request.database
    if database is None:
        due = [name for name, entry in registry.all().items() if entry.scratch is not None]
        event = {"action": "drill", "exercise": request.exercise}
        return wiring.fan_out(context.function_name, event, due).answer()
    decided = registry.get(database)
    request = request.model_copy(update={"exceptions": request.exceptions or decided.drill_exceptions})
    secret = request.target_secret or decided.scratch
    if secret is None:
        raise NoScratchServerError(f"no scratch server is named for drills of {database}")
    scratch, services = parse_secret(registry.secret(secret)), wiring.restore_services()
    return drill.run(database, request, scratch, services, seconds=wiring.seconds_left(context)).answer()
