"""Whether the application works with the database that has just taken its place."""

from __future__ import annotations

from coffre.databases.asking import ask_until_up, down
from coffre.databases.endpoints import Endpoint
from coffre.databases.postgresql.target import Target
from coffre.databases.registry import Registry
from coffre.errors import CoffreError
from coffre.results import EndpointAnswer, Finding

TRIES = 3
PAUSE_SECONDS = 2.0
SECONDS = 60.0
"""How often the endpoints are asked, and for how long at most: the application's sessions were ended."""


def ask_application(
    registry: Registry, database: str, target: Target, registered: str | None, *, seconds: float
) -> tuple[list[EndpointAnswer], list[Finding]]:
    """Ask the endpoints of the database that was replaced; a finding for each that isn't up.

    Parameters
    ----------
    database:
        The name that the restore was asked for.
    registered:
        The name under which the target itself is registered, where that was looked up: a swap elsewhere, on
        a rehearsal's server say, says nothing about the application of ``database``.
    """
    answers = ask_until_up(
        _endpoints(registry, database, target, registered),
        tries=TRIES,
        pause=PAUSE_SECONDS,
        seconds=min(SECONDS, seconds),
    )
    return answers, [down(answer) for answer in answers if not answer.up]


def _endpoints(registry: Registry, database: str, target: Target, registered: str | None) -> list[Endpoint]:
    try:
        if registered is not None:
            return registry.get(registered).endpoints
        registration = registry.get(database)
        if not registration.endpoints:
            return []
        own = registry.target(registration)
    except CoffreError:
        return []  # without a registration nobody knows of endpoints
    same = (own.host, own.port, own.database) == (target.host, target.port, target.database)
    return registration.endpoints if same else []
