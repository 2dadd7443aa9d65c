"""A restore's state machine gone through by hand, in this process, so that it can die anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from coffre.catalogue.entries import RunRecord
from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.target import Target
from coffre.events.restore import RestoreRequest
from coffre.events.restore_machine import LoadItem, RestoreRun, RestoreStepRequest, ResumeRequest
from coffre.restore import ending, machine, run, steps
from coffre.restore.items import Clock, do_item
from coffre.restore.job import Services
from coffre.results import RestoreResult
from tests.support.vault import DATABASE, SECONDS, Verbs


class Hand:
    """One restore, and what the state machine would be given.

    Attributes
    ----------
    working_seconds:
        What a worker has; by default so little that each begins one piece of work only.
    calls:
        What was called so far.
    """

    def __init__(self, verbs: Verbs, catalogue: Catalogue, wanted: Target) -> None:
        self.catalogue = catalogue
        self.wanted = wanted
        self.working_seconds = 0.0
        self.calls: list[str] = []
        self.given: dict[str, Any] = {}
        self.services: Services = replace(verbs.restore_services(), start_machine=self._started)
        self.token = ""

    def _started(self, _: str, content: dict[str, Any]) -> None:
        self.given = content

    def confirm(self, **more: Any) -> RestoreResult:
        """Plan and confirm it."""
        asked = {"action": "plan", "database": DATABASE, "target_secret": "none", "runs": "machine", **more}
        request = RestoreRequest.model_validate(asked)
        self.token = run.plan(request, self.wanted, self.services, seconds=SECONDS).token
        confirmed = request.model_copy(update={"action": "run", "token": self.token})
        return run.run(confirmed, self.wanted, self.services, seconds=SECONDS)

    def resume(self) -> RestoreResult:
        """Let it go on."""
        request = ResumeRequest(action="resume", database=DATABASE, token=self.token)
        found = machine.failed_run(request, self.services)
        return machine.resume(found, self.wanted, self.services)

    def live(self) -> list[RunRecord]:
        """Its records among the runs that keep a backup from being deleted."""
        runs = self.catalogue.live_runs(DATABASE)
        return [one for one in runs if one.run_id.endswith(self.token[:12])]

    def fail(self, error: BaseException) -> None:
        """Do what the machine does when something fails."""
        cause = {"Error": type(error).__name__, "Cause": str(error)}
        ending.abort(self.services, RestoreRun.model_validate(self.given["run"]), cause, lambda: self.wanted)

    def go(self) -> dict[str, Any]:
        """Go through all states; the last one's answer."""
        self.step("protect")
        prepared = self.step("prepare")
        report = prepared["report"]
        if prepared["go"]:
            self._items(self.step("rows"))
            self._items(self.step("loaded"))
            self.step("judge")
            while (wave := self.step("wave"))["go"]:
                self._items(wave)
            while (checked := self.step("check"))["again"]:
                continue
            report = checked["report"]
        return self.step("finish", report=report)

    def step(self, name: str, **more: Any) -> dict[str, Any]:
        """Do one state's work; its answer."""
        self.calls.append(name)
        request = RestoreStepRequest.model_validate({"step": name, **self.given, **more})
        answer = steps.do(request, self._job()).answer()
        if "run" in answer:
            self.given = {"run": answer["run"]}
        return answer

    def _items(self, planned: dict[str, Any]) -> None:
        for item in planned["items"]:
            while item:
                item = self.item(item)  # noqa: PLW2901 - what is left of it

    def item(self, item: dict[str, Any]) -> dict[str, Any]:
        """Do an item; the rest, or nothing."""
        self.calls.append(str(item["kind"]))
        clock = Clock(SECONDS, self.working_seconds)
        return do_item(self._job(), LoadItem.model_validate(item), clock).answer()["item"]

    def _job(self) -> machine.MachineJob:
        found = RestoreRun.model_validate(self.given["run"])
        return machine.machine_job(found, self.wanted, self.services, seconds=SECONDS)


def dying(after: int, real: Callable[..., Any], count: list[int]) -> Callable[..., Any]:
    """``real``, which dies instead of doing its call number ``after``; ``count`` holds how many came.

    Calls of other threads, which look after something as often as there is time for, don't count.
    """
    mine = threading.current_thread()

    def call(*arguments: Any, **more: Any) -> Any:
        if threading.current_thread() is mine:
            count[0] += 1
            if count[0] == after:
                raise KilledError
        return real(*arguments, **more)

    return call


class KilledError(BaseException):
    """The process ends here: nothing that handles errors gets to see it."""
