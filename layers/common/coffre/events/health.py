"""What is asked of `health`."""

from __future__ import annotations

from typing import Literal

from coffre.events.base import DatabaseName, Event


class HealthRequest(Event):
    """Report on one database or on all."""

    database: DatabaseName | None = None


class ProbeRequest(Event):
    """Ask the application's endpoints and the source of one database once, and say nothing else about it."""

    action: Literal["probe"]
    database: DatabaseName
