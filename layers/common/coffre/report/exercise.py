"""Write the protocol of the quarter's exercise, once its drill ended, well or not."""

from __future__ import annotations

from coffre.catalogue.objectives import report as objectives
from coffre.events.report import ExerciseEvent
from coffre.ids import stamp
from coffre.report.hidden import shown_exercise
from coffre.report.job import Services
from coffre.report.protocol import Protocol, as_html, as_markdown
from coffre.report.write import write
from coffre.results import ProtocolResult
from coffre.vault.layout import Layout

DAYS = 90
"""A quarter: what its objectives are judged by."""


def run(event: ExerciseEvent, services: Services) -> ProtocolResult:
    """Fill the template in; an event that is delivered twice writes one protocol.

    Raises
    ------
    UnknownDatabaseError, CatalogueUnavailableError, StoreUnavailableError
    """
    now, layout = services.now(), Layout(event.database)
    registration = services.registry.get(event.database)
    met = objectives(event.database, registration, services.catalogue, days=DAYS, now=now)
    protocol = Protocol(
        shown_exercise(event, registration),
        met,
        f"the schedule of the quarter, in stack {services.stack}",
        now,
    )
    name = f"{event.started:%Y%m%dT%H%M%SZ}"
    keys = [layout.protocol(name, kind) for kind in ("md", "html")]
    write(services.store, keys[0], as_markdown(protocol), may_exist=True)
    new = write(services.store, keys[1], as_html(protocol), may_exist=True)
    if new:
        told = {"exercise": event.status, "started": stamp(event.started), "keys": keys}
        services.publisher.publish("Protocol Written", {"database": event.database, **told})
    return ProtocolResult(database=event.database, status="written" if new else "exists", keys=keys)
