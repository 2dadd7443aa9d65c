"""Write the reports of a month: each once, into the vault."""

from __future__ import annotations

from coffre.databases.registration import Registration
from coffre.databases.registry import Registered
from coffre.errors import CoffreError, ObjectExistsError, ObjectMissingError
from coffre.events.report import ReportRequest
from coffre.observability import log
from coffre.report.gather import gather
from coffre.report.job import Services
from coffre.report.month import Month
from coffre.report.page import monthly_page
from coffre.report.write import write
from coffre.results import MonthlyReport, ReportResult, WrittenReport
from coffre.vault.layout import Layout

MAX_BYTES = 4 << 20


def run(request: ReportRequest, services: Services) -> ReportResult:
    """Report on one database or on all.

    Without a month in the request it is the last one that was over at its time, or now.

    Raises
    ------
    UnknownDatabaseError
        If the request names a database that isn't registered.
    """
    moment = request.scheduled_time or services.now()
    month = Month.parse(request.month) if request.month else Month.before(moment)
    registry, name = services.registry, request.database
    registered = Registered({name: registry.get(name)}) if name else registry.all()
    reports: list[WrittenReport] = []
    failed = {name: str(error) for name, error in registered.invalid.items()}
    for database, registration in registered.valid.items():
        try:
            found = _report(database, registration, month, services)
        except CoffreError as error:
            if request.database:
                raise
            log("a report failed", database=database, code=error.code, reason=error.message)
            failed[database] = str(error)
        else:
            reports.append(found if request.database else found.model_copy(update={"report": None}))
    return ReportResult(reports=reports, failed=failed)


def _report(database: str, registration: Registration, month: Month, services: Services) -> WrittenReport:
    layout = Layout(database)
    keys = [layout.report(str(month), kind) for kind in ("json", "html")]
    known = _read(keys[0], services)
    report = known or gather(
        database,
        registration,
        month,
        services,
        before=_read(layout.report(str(month.previous), "json"), services),
    )
    if not report.complete:
        return WrittenReport(database=database, month=str(month), status="unfinished", keys=[], report=report)
    if known is None:
        try:
            write(services.store, keys[0], report.model_dump_json(indent=1))
        except ObjectExistsError:  # another run was quicker: its report is the month's
            report = _read(keys[0], services) or report
    # The page is made of what the JSON says, so a run that broke off between both is finished by the next.
    new = write(services.store, keys[1], monthly_page(report), may_exist=True)
    if new:
        services.publisher.publish("Report Written", _summary(report, keys))
    status = "written" if new else "exists"
    return WrittenReport.model_validate(
        {"database": database, "month": str(month), "status": status, "keys": keys, "report": report}
    )


def _read(key: str, services: Services) -> MonthlyReport | None:
    try:
        return MonthlyReport.model_validate_json(services.store.read(key, limit=MAX_BYTES))
    except ObjectMissingError:
        return None


def _summary(report: MonthlyReport, keys: list[str]) -> dict[str, object]:
    """What the event tells: enough to act on."""
    told = {"database", "month", "verdict", "taken", "failed", "proven", "refuted", "inconclusive", "rotated"}
    met = {"rpo_met": report.objectives.rpo_met, "rto_met": report.objectives.rto_met}
    counts = {"damage": len(report.damage), "exceptions": len(report.exceptions)}
    return {**report.model_dump(mode="json", include=told), **met, **counts, "keys": keys}
