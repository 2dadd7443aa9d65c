"""Asking an application again and again while something else goes on."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from botocore.exceptions import BotoCoreError, ClientError

from coffre.errors import CoffreError
from coffre.loadtest.samples import Sample
from coffre.results import ProbeResult, Stage, TimeSpent
from coffre_cli.errors import from_function
from coffre_cli.stack import Stack

SOURCE = "a new session with the database"
ANSWER_SECONDS = 120.0
"""The health function's own limit: by then there is an answer, or none comes."""


class Watch:
    """Asks at every moment of an interval, and at the beginning of each stage, until its block ends.

    Questions are put one after the other.  An answer that takes longer than the interval stands for the
    moments that passed meanwhile.

    Parameters
    ----------
    ask:
        Puts one question; an error of its own says nothing about the application.
    endpoints:
        The endpoints as they are shown, in the order in which they are answered.
    interval:
        Seconds from one moment to the next.

    Attributes
    ----------
    samples:
        The answers so far.
    unasked:
        Moments at which the question couldn't be put.
    stage, stages:
        What goes on, and what went on when.
    """

    def __init__(self, ask: Callable[[], ProbeResult], endpoints: Sequence[str], interval: float) -> None:
        self._ask = ask
        self._endpoints = distinct(endpoints)
        self._interval = interval
        self._began = time.monotonic()
        self._wake = threading.Event()
        self._over = threading.Event()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)
        self.stage: Stage = "baseline"
        self.samples: list[Sample] = []
        self.unasked = 0
        self.stages: list[TimeSpent] = []

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._wake.set()
        if not isinstance(error, KeyboardInterrupt):  # who stops the test doesn't wait for a last answer
            self._thread.join()

    @contextmanager
    def during(self, stage: Stage, number: int) -> Iterator[None]:
        """Ask at once, and say of what is answered from now on that it was in this stage.

        A stage that is over before that answer, or has failed, waits for it, so that none goes by unseen.
        """
        answered = threading.Event()
        # In this order: who finds the event finds its stage.
        self.stage = stage
        self._answered = answered
        self._wake.set()
        began = self._now()
        try:
            yield
        except CoffreError:
            answered.wait(ANSWER_SECONDS)
            raise
        else:
            answered.wait(ANSWER_SECONDS)
        finally:
            spent = TimeSpent(stage=stage, round=number, began=round(began, 3), ended=round(self._now(), 3))
            self.stages.append(spent)

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _work(self) -> None:
        moment = 0
        while not self._over.is_set():
            self._wake.clear()
            answered = self._answered
            stage, at = self.stage, self._now()
            try:
                answer = self._ask()
            except (CoffreError, ClientError, BotoCoreError, ValueError):
                answer = None
            # The next moment is the first one that isn't over yet.
            following = max(moment + 1, math.ceil(self._now() / self._interval))
            until = max(self._now(), following * self._interval)
            self._note(answer, stage, at, following - moment, until)
            moment = following
            answered.set()
            if self.stage == stage:
                self._wake.wait(max(0.0, moment * self._interval - self._now()))

    def _note(self, answer: ProbeResult | None, stage: Stage, at: float, moments: int, until: float) -> None:
        if answer is None:
            self.unasked += moments
            return
        if answer.source is None or None in answer.endpoints:
            self.unasked += moments  # of whatever wasn't asked then nothing is known
        when = (stage, at, until, moments)
        for subject, one in zip(
            self._endpoints, answer.endpoints, strict=False
        ):  # they may be changed meanwhile
            if one is not None:
                self.samples.append(Sample(subject, "endpoint", *when, one.up, one.seconds, one.reason))
        if answer.source is not None:
            source = answer.source
            self.samples.append(Sample(SOURCE, "source", *when, source.up, source.seconds, source.reason))


def distinct(names: Sequence[str]) -> list[str]:
    """The names, those that come again with a number: endpoints may differ in what isn't shown of them."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def probe(stack: Stack, database: str) -> ProbeResult:
    """Have the health function ask once: it stands where the application is asked from otherwise.

    Raises
    ------
    CoffreError
        With which the function ended.
    """
    function = stack.function("health")
    payload = json.dumps({"action": "probe", "database": database})
    answer = stack.client("lambda").invoke(FunctionName=function, Payload=payload)
    content = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise from_function(function, content)
    return ProbeResult.model_validate(content)
