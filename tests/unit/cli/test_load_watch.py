"""The watch of a load test asks on and on, and forgets no moment."""

from __future__ import annotations

import threading

import pytest

from coffre.errors import FunctionFailedError
from coffre.results import EndpointAnswer, ProbeResult, SourceAnswer
from coffre_cli.load_watch import SOURCE, Watch, distinct
from tests.support.waiting import PATIENCE_SECONDS

URL = "http://127.0.0.1/health"


class Desk:
    """Answers as it is told, and lets a test wait until it was asked so many times."""

    def __init__(self) -> None:
        self.asked = 0
        self.up = True
        self.broken = False
        self._changed = threading.Condition()

    def ask(self) -> ProbeResult:
        """One question."""
        with self._changed:
            self.asked += 1
            self._changed.notify_all()
        if self.broken:
            raise FunctionFailedError("health ended with a timeout")
        endpoint = EndpointAnswer(url=URL, up=self.up, status=200 if self.up else 503, seconds=0.001)
        return ProbeResult(
            database="shop", endpoints=[endpoint, None], source=SourceAnswer(up=True, seconds=0)
        )

    def wait(self, number: int) -> None:
        """Until so many questions were put."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.asked >= number, timeout=PATIENCE_SECONDS)


def test_each_answer_is_of_the_stage_in_which_it_was_asked_for() -> None:
    desk = Desk()
    with Watch(desk.ask, [URL, "unasked"], 0.01) as watch:
        with watch.during("baseline", 0):
            desk.wait(2)
        desk.up = False
        with watch.during("backup", 1):
            desk.wait(desk.asked + 3)
        desk.up = True
        with watch.during("restore", 1):
            desk.wait(desk.asked + 3)
    wrong = {sample.stage for sample in watch.samples if not sample.up}
    assert "backup" in wrong
    assert {"baseline", "backup", "restore"} == {sample.stage for sample in watch.samples}
    assert {sample.subject for sample in watch.samples} == {URL, SOURCE}, "one that wasn't asked is no answer"
    assert watch.unasked, "but the moment counts as one in which not all were asked"
    assert [(one.stage, one.round) for one in watch.stages] == [
        ("baseline", 0),
        ("backup", 1),
        ("restore", 1),
    ]
    assert all(one.began <= one.ended for one in watch.stages)


def test_a_stage_is_asked_about_at_once_however_long_the_interval() -> None:
    desk = Desk()
    with Watch(desk.ask, [URL, "unasked"], 3600) as watch:
        desk.wait(1)
        for number, stage in enumerate(("backup", "proof"), 2):
            with watch.during(stage, 1):
                desk.wait(number)
    assert {"backup", "proof"} <= {sample.stage for sample in watch.samples}


def test_a_stage_that_fails_at_once_is_asked_about_all_the_same() -> None:
    desk = Desk()
    with Watch(desk.ask, [URL, "unasked"], 3600) as watch:
        with pytest.raises(FunctionFailedError), watch.during("restore", 1):
            raise FunctionFailedError("restore ended at once")
        assert "restore" in {sample.stage for sample in watch.samples}
    assert [one.stage for one in watch.stages] == ["restore"]


def test_questions_that_cannot_be_put_are_counted_and_say_nothing() -> None:
    desk = Desk()
    desk.broken = True
    with Watch(desk.ask, [URL, "unasked"], 0.01) as watch, watch.during("backup", 1):
        desk.wait(3)
    assert watch.samples == []
    assert watch.unasked >= 3


def test_moments_stand_for_all_the_time_that_passed() -> None:
    desk = Desk()
    with Watch(desk.ask, [URL, "unasked"], 0.01) as watch, watch.during("backup", 1):
        desk.wait(20)
    answers = [sample for sample in watch.samples if sample.subject == URL]
    assert all(one.moments >= 1 and one.until >= one.at for one in answers)
    last = answers[-1]
    counted = sum(one.moments for one in answers) * 0.01
    assert last.at <= counted <= last.until + 1e-9, "every moment up to the last answer, once"


def test_endpoints_that_look_alike_are_told_apart() -> None:
    assert distinct([URL, "b", URL, URL]) == [URL, "b", f"{URL} (2)", f"{URL} (3)"]
