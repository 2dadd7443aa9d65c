"""The state machine of a backup gone through by hand, in this process: any call of a function can fail."""

from __future__ import annotations

from typing import Any

from coffre.backup import abort, steps
from coffre.backup.batch import capture_batch
from coffre.backup.machine import machine_job
from coffre.databases.postgresql.snapshot import HeldSnapshot
from coffre.databases.postgresql.target import Source, Target
from coffre.databases.registration import Registration
from coffre.errors import CatalogueUnavailableError, StoreUnavailableError
from coffre.events.backup import MachineRun, StepRequest
from coffre.ids import backup_id
from tests.faults.cases import SECOND
from tests.faults.injection import Way
from tests.faults.world import DATABASE, SECONDS, Outcome, World

STEPS = ("prepare", "plan", "capture", "release", "commit")
DONE_AGAIN = ("release", "commit")
"""What ``statemachines/backup.asl.yaml`` does again if a service didn't answer; capture whatever happens."""


class Machine:
    """One execution, which makes the backup that is due at `SECOND`.

    Attributes
    ----------
    run:
        What its functions are told.
    calls:
        How many calls each step made.
    reading_seconds:
        How long a worker reads, before it leaves the rest to the next.
    """

    reading_seconds = float(SECONDS)

    def __init__(self, world: World, source: Target, execution: str) -> None:
        self.world = world
        self.source = source
        self.run = MachineRun(
            database=DATABASE,
            backup_id=backup_id(DATABASE, "daily", SECOND),
            type="daily",
            scheduled_time=SECOND,
            execution=execution,
            tries=0,
        )
        self.calls: dict[str, int] = {}
        self._snapshot: HeldSnapshot | None = None

    def go(self, step: str = "", number: int = -1, way: Way = Way.ERROR) -> Outcome:
        """Go through all states, where one call of a step fails the first time; how that step ended then."""
        hit = Outcome()
        while True:
            self.run = self.run.model_copy(update={"tries": self.run.tries + 1})
            error: dict[str, str] | None = None
            for name in STEPS:
                if name != step:
                    outcome = self._do(name)
                else:
                    outcome = self._do(name, number, way)
                    step, hit = "", outcome
                    if self._does_again(name, outcome):
                        outcome = self._do(name)
                if outcome.result is None:
                    error = _caught(outcome)
                    break
                if name == "prepare" and not self._goes_on(outcome):
                    return hit
            self._let_go()
            if error is None or not self.abort(error).go:
                return hit

    def do(self, name: str, batch: str = "000001") -> Any:
        """Do a step, as its function does."""
        services = self.world.backup_services()
        job = machine_job(
            self.run, Registration(secret="-"), Source(self.source), services, seconds=float(SECONDS)
        )
        if name == "capture":
            while batch:
                captured = capture_batch(
                    job, services, batch, seconds=SECONDS, reading_seconds=self.reading_seconds
                )
                batch = captured.rest
            return captured
        request = StepRequest.model_validate({"step": name, "run": self.run})
        return steps.do(request, job, services)

    def hold(self) -> None:
        """Do what the first holder does."""
        self._snapshot = HeldSnapshot(self.source, seconds=SECONDS, application="coffre/holder")
        # It has no heartbeat, and is ended by hand.
        self._snapshot.session.run("SET idle_in_transaction_session_timeout = 0")
        ledger = self.world.catalogue.ledger(DATABASE, self.run.attempt)
        assert ledger.publish(1, self._snapshot.id)

    def abort(self, error: dict[str, str]) -> Any:
        """Give up an attempt."""
        return abort.abort(self.world.backup_services(), self.run, error)

    def _do(self, name: str, number: int = -1, way: Way = Way.ERROR) -> Outcome:
        outcome = self.world.attempt(lambda: self.do(name), number, way)
        self.calls.setdefault(name, len(self.world.injector.calls))
        self.world.injector.disarm()
        return outcome

    def _goes_on(self, outcome: Outcome) -> bool:
        if outcome.result.go:
            self.hold()
        return bool(outcome.result.go)

    @staticmethod
    def _does_again(name: str, outcome: Outcome) -> bool:
        unavailable = isinstance(outcome.error, StoreUnavailableError | CatalogueUnavailableError)
        return name == "capture" or (name in DONE_AGAIN and unavailable)

    def _let_go(self) -> None:
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None


def _caught(outcome: Outcome) -> dict[str, str]:
    """What the machine catches."""
    if outcome.error is None:
        return {"Error": "Runtime.ExitError", "Cause": "the process ended"}
    return {"Error": type(outcome.error).__name__, "Cause": f"[{outcome.error.code}] {outcome.error.message}"}
