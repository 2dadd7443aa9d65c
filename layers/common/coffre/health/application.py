"""Ask the applications of all databases whether they work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coffre.databases.asking import ask_all, down
from coffre.databases.endpoints import Endpoint
from coffre.databases.registration import Registration
from coffre.results import EndpointAnswer, Finding


@dataclass(frozen=True)
class Application:
    """What the endpoints of one database's application answered, and what is wrong with that."""

    answers: tuple[EndpointAnswer, ...] = ()
    findings: tuple[Finding, ...] = ()


def ask_applications(
    registered: Mapping[str, Registration | Finding], *, seconds: float
) -> dict[str, Application]:
    """Ask the endpoints of all databases at the same time.

    Parameters
    ----------
    seconds:
        How long this may take.  An endpoint that couldn't be asked by then isn't called down.
    """
    asked = [
        (name, endpoint)
        for name, entry in registered.items()
        if isinstance(entry, Registration)
        for endpoint in entry.endpoints
    ]
    answers = ask_all([endpoint for _, endpoint in asked], seconds=seconds) if asked else []
    found: dict[str, list[tuple[Endpoint, EndpointAnswer | None]]] = {name: [] for name in registered}
    for (name, endpoint), answer in zip(asked, answers, strict=True):
        found[name].append((endpoint, answer))
    return {name: _application(pairs) for name, pairs in found.items()}


def _application(pairs: list[tuple[Endpoint, EndpointAnswer | None]]) -> Application:
    findings = [
        _unasked(endpoint) if answer is None else down(answer)
        for endpoint, answer in pairs
        if answer is None or not answer.up
    ]
    return Application(tuple(answer for _, answer in pairs if answer is not None), tuple(findings))


def _unasked(endpoint: Endpoint) -> Finding:
    message = f"{endpoint.label}: there was no time to wait for its answer"
    return Finding(level="info", code="endpoint-unasked", object=endpoint.label, message=message)
