"""Whose turn it is."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from coffre.ids import in_turn
from tests.fakes.store import START


@given(st.sets(st.text(max_size=5), max_size=9), st.timedeltas(timedelta(), timedelta(days=900)))
def test_on_so_many_days_each_database_is_the_first_once(names: set[str], later: timedelta) -> None:
    day: datetime = START + later
    turns = [in_turn(names, day + timedelta(days=n)) for n in range(len(names))]
    assert all(sorted(turn) == sorted(names) for turn in turns)
    assert {turn[0] for turn in turns} == names
    assert in_turn(names, day) == in_turn(sorted(names, reverse=True), day), "a dry run goes the same way"
