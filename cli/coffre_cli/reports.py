"""`coffre report`: what a month was like."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from coffre.ids import utc_now
from coffre_cli import files
from coffre_cli.options import Database, Html, Json, Region, StackName
from coffre_cli.output import emit
from coffre_cli.stack import find_stack

_MONTH = re.compile(r"2\d{3}-(0[1-9]|1[0-2])\Z")


def _month(text: str | None) -> str | None:
    if text is not None and not _MONTH.match(text):
        raise typer.BadParameter("a month is written as 2026-11")
    if text is not None and text > utc_now().strftime("%Y-%m"):
        raise typer.BadParameter(f"{text} hasn't begun")
    return text


def report(
    name: Database,
    month: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM", callback=_month, help="Default: the last one that is over."),
    ] = None,
    html: Html = None,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Report on a month: backups, verdicts, sizes, drills, objectives, health, cost.

    A schedule writes it into the vault each month; this shows it, or writes one that is missing.  A month
    that isn't over is reported on without being written.
    """
    from coffre.report.page import monthly_page
    from coffre.results import ReportResult
    from coffre_cli import invoke, show_reports
    from coffre_cli.progress import spinner

    if html is not None:
        files.check_writable(html)
    found = find_stack(stack, region)
    event: dict[str, Any] = {"database": name, **({"month": month} if month else {})}
    with spinner("reporting"):
        answer = invoke.call(found, "report", event)
    (written,) = ReportResult.model_validate(answer).reports
    if html is not None and written.report is not None:
        files.write(html, monthly_page(written.report))
    emit(written.answer(), as_json, show_reports.monthly(written))
