"""What the tests that fail every call share: which cases are tried, on what content, and the count."""

from __future__ import annotations

import gc
import itertools
import os
import random
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime

from coffre.databases.postgresql.server import EphemeralServer
from tests.faults.injection import Way
from tests.faults.world import Outcome, World
from tests.support.postgres import coffre_sessions, no_sessions_left

SEED = int(os.environ.get("COFFRE_FAULT_SEED", "20261120"))
WHOLE = os.environ.get("COFFRE_FAULTS") == "all"
FIRST = datetime(2026, 11, 1, 3, tzinfo=UTC)
SECOND = datetime(2026, 11, 2, 3, tzinfo=UTC)
CONTENT = """
CREATE TABLE goods (id serial PRIMARY KEY, name text NOT NULL);
INSERT INTO goods (name) SELECT md5(i::text) FROM generate_series(1, 300) i;
CREATE TABLE sales (id int REFERENCES goods, at timestamptz);
INSERT INTO sales SELECT i, '2026-11-01'::timestamptz + i * interval '1 min' FROM generate_series(1, 200) i;
SELECT lo_from_bytea(0, 'a large object');
"""
Case = tuple[int, Way]


def cases(calls: int, sample: int, ways: Iterable[Way] = Way) -> list[Case]:
    """Which cases to try, in the order of the calls: all of them, or as many as ``sample`` says."""
    every = list(itertools.product(range(calls), ways))
    if WHOLE or len(every) <= sample:
        return every
    chosen = random.Random(SEED).sample(every, sample)  # noqa: S311 - not for secrets
    return sorted(chosen, key=every.index)


class Told:
    """Counts, and prints what was tried at the end."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.tried = 0
        self.ends: dict[str, int] = {}

    def count(self, outcome: Outcome) -> None:
        """One more."""
        self.tried += 1
        end = "killed" if outcome.killed else "told" if outcome.error else "survived"
        self.ends[end] = self.ends.get(end, 0) + 1

    def print(self, calls: int) -> None:
        """Say it."""
        ends = ", ".join(f"{number} {end}" for end, number in sorted(self.ends.items()))
        print(f"\n{self._what}: {calls} calls, {self.tried} faults tried ({ends}), nothing lost; seed {SEED}")


def nobody_is_left(server: EphemeralServer) -> bool:
    """Whether no session is left on the source.  Workers of this process end when nothing names them."""
    if coffre_sessions(server):
        gc.collect()
    return no_sessions_left(server)


def clean_scratch(world: World, outcome: Outcome) -> None:
    """A run leaves nothing in scratch space, unless it was killed: then its sandbox goes with it."""
    left = [path.name for path in world.scratch.iterdir()]
    if outcome.killed:
        for name in left:
            shutil.rmtree(world.scratch / name)
    else:
        assert left == []
