"""Ask an application and its database once, as a load test does each second: no report, no metrics."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from coffre.databases.asking import ask_all
from coffre.databases.endpoints import LONGEST_SECONDS
from coffre.databases.postgresql.connection import open_session
from coffre.databases.registration import Registration
from coffre.databases.registry import Registry
from coffre.errors import CoffreError
from coffre.events.health import ProbeRequest
from coffre.results import ProbeResult, SourceAnswer

SOURCE_SECONDS = 5.0
"""How long a new session and its first answer may take: what an endpoint is given, too."""
TOGETHER_SECONDS = LONGEST_SECONDS + 5


def run(request: ProbeRequest, registry: Registry, *, seconds: float) -> ProbeResult:
    """Ask the endpoints and the source of one database at the same time, each once.

    Parameters
    ----------
    seconds:
        How long this may take.  What couldn't be asked by then isn't called down.

    Raises
    ------
    UnknownDatabaseError, InvalidRegistrationError
    """
    registration = registry.get(request.database)
    limit = min(seconds, TOGETHER_SECONDS)
    with ThreadPoolExecutor(1, thread_name_prefix="source") as pool:
        source = pool.submit(_ask_source, registration, registry)
        endpoints = ask_all(registration.endpoints, seconds=limit)
        # Connecting and each statement have limits of their own, so this ends.
        return ProbeResult(database=request.database, endpoints=endpoints, source=source.result())


def _ask_source(registration: Registration, registry: Registry) -> SourceAnswer | None:
    """Open a session and ask for a 1; None if that isn't the source's fault."""
    try:
        target = registry.target(registration)
    except CoffreError:
        return None
    began, reason = time.monotonic(), ""
    try:
        with open_session(target, seconds=SOURCE_SECONDS, application="coffre/loadtest") as session:
            session.value("SELECT 1")
    except CoffreError as error:
        reason = error.message
    seconds = time.monotonic() - began
    if not reason and seconds > SOURCE_SECONDS:
        reason = f"answered after {seconds:.1f} s, not within {SOURCE_SECONDS:g} s"
    return SourceAnswer(up=not reason, seconds=round(seconds, 4), reason=reason)
