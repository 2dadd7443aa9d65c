"""Write the reports of a month."""

from __future__ import annotations

from typing import Any

from coffre import wiring
from coffre.errors import ReportsIncompleteError
from coffre.events import ReportRequest, parse
from coffre.report import run


def handler(event: dict[str, Any], context: wiring.Context) -> dict[str, Any]:  # noqa: ARG001
    """Lambda's entry point; see `coffre.events.ReportRequest` for the event."""
    result = run.run(parse(ReportRequest, event), wiring.report_services())
    if result.failed:
        raise ReportsIncompleteError("; ".join(f"{name}: {error}" for name, error in result.failed.items()))
    return result.answer()
