"""Keep a load test's report in the vault, as JSON and as a page."""

from __future__ import annotations

from pydantic import ValidationError

from coffre.errors import InvalidEventError
from coffre.events.report import LoadTestEnded
from coffre.ids import moment
from coffre.report.hidden import shown_load_test
from coffre.report.job import Services
from coffre.report.loadtest_page import load_test_page
from coffre.report.write import write
from coffre.results import LoadTestReport, SavedLoadTest
from coffre.vault.layout import Layout


def run(event: LoadTestEnded, services: Services) -> SavedLoadTest:
    """Write the report, once for each time at which a load test began.

    What it says was measured by whoever sends it; its verdict stands for nothing but this report.

    Raises
    ------
    InvalidEventError
        If it isn't a report of this database and stack.
    UnknownDatabaseError, ObjectExistsError, StoreUnavailableError
    """
    report = _read(event, services.stack)
    layout = Layout(event.database)
    report = shown_load_test(report, services.registry.get(event.database))
    name = f"{moment(report.started):%Y%m%dT%H%M%SZ}"
    keys = [layout.load_test(name, kind) for kind in ("json", "html")]
    write(services.store, keys[0], report.model_dump_json(indent=1), may_exist=True)
    new = write(services.store, keys[1], load_test_page(report), may_exist=True)
    saved = SavedLoadTest(
        database=event.database,
        status="written" if new else "exists",
        verdict=report.verdict,
        keys=keys,
    )
    if new:
        reasons = [reason.code for reason in report.reasons]
        services.publisher.publish("Load Test Completed", {**saved.answer(), "reasons": reasons})
    return saved


def _read(event: LoadTestEnded, stack: str) -> LoadTestReport:
    try:
        report = LoadTestReport.model_validate(event.report)
        moment(report.started)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise InvalidEventError(f"not a load test's report: {faults}") from error
    except ValueError as error:
        raise InvalidEventError("a load test's report without the time at which it started") from error
    if (report.database, report.stack) != (event.database, stack):
        raise InvalidEventError(f"the report is on {report.database} in {report.stack}, not on this database")
    return report
