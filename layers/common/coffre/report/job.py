"""What reports are made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from coffre.catalogue.index import Catalogue
from coffre.databases.registry import Registry
from coffre.ids import utc_now
from coffre.notify.publisher import Publisher
from coffre.report.scores import Scores
from coffre.vault.store import ObjectStore


@dataclass(frozen=True)
class Services:
    """What a report works with.

    Attributes
    ----------
    stack:
        The stack's name.
    now:
        Tells the time.
    """

    store: ObjectStore
    catalogue: Catalogue
    registry: Registry
    publisher: Publisher
    scores: Scores
    stack: str
    now: Callable[[], datetime] = utc_now
