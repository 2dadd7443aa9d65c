"""Write the reports of a month, the protocol of an exercise, or the report on a load test."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.errors import ReportsIncompleteError
from coffre.events.base import parse
from coffre.events.report import ExerciseEvent, LoadTestEnded, ReportRequest
from coffre.report import exercise, loadtest, run


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:  # noqa: ARG001
    """Lambda's entry point.

    See `coffre.events.report` for the events; a drill's own comes through EventBridge.
    """
    services = wiring.report_services()
    if isinstance(event, dict) and event.get("source") == "coffre":
        return exercise.run(ExerciseEvent.from_event(event), services).answer()
    if isinstance(event, dict) and event.get("action") == "loadtest":
        return loadtest.run(parse(LoadTestEnded, event), services).answer()
    result = run.run(parse(ReportRequest, event), services)
    if result.failed:
        raise ReportsIncompleteError("; ".join(f"{name}: {error}" for name, error in result.failed.items()))
    return result.answer()
