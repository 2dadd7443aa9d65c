"""The one run of the state machine that is rehearsed, and the product's services at work on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bench.product import SILENT
from bench.rehearsal.catalog import DATABASE
from coffre import wiring
from coffre.backup.job import Job, Services
from coffre.backup.machine import machine_job
from coffre.databases.postgresql.target import Source, Target
from coffre.databases.registration import Registration
from coffre.events.backup import MachineRun
from coffre.ids import backup_id

SECONDS = 870.0
"""What a function has."""

TARGET = Target("-", 5432, "-", "-")
"""Nothing here connects to a server."""


@dataclass(frozen=True)
class Rehearsal:
    """How large it is, and when its newest backup was due.

    Attributes
    ----------
    tables, backups:
        In the database, and in the vault.
    """

    tables: int
    backups: int
    newest: datetime

    @classmethod
    def of(cls, order: dict[str, Any]) -> Rehearsal:
        """What a step's order says."""
        return cls(order["tables"], order["backups"], datetime.fromisoformat(order["newest"]))

    @property
    def order(self) -> dict[str, Any]:
        """The inverse of `of`."""
        return {"tables": self.tables, "backups": self.backups, "newest": self.newest.isoformat()}

    def scheduled(self, age: int) -> datetime:
        """When the backup was due that has ``age`` newer ones."""
        return self.newest - timedelta(days=age)

    def backup_id(self, age: int) -> str:
        """The id of the backup that has ``age`` newer ones."""
        return backup_id(DATABASE, "daily", self.scheduled(age))

    @property
    def run(self) -> MachineRun:
        """The run that makes the newest backup."""
        return MachineRun(
            database=DATABASE,
            backup_id=self.backup_id(0),
            type="daily",
            scheduled_time=self.newest,
            execution="rehearsal",
            tries=1,
        )


def backup_job(rehearsal: Rehearsal) -> tuple[Job, Services]:
    """The newest backup as a function of the state machine sees it."""
    services = replace(wiring.backup_services(), publisher=SILENT)
    registration = Registration(secret="-")
    return machine_job(rehearsal.run, registration, Source(TARGET), services, seconds=SECONDS), services
