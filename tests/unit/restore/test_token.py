"""A token tells its plan's time, and nothing else passes for one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.standing import Mark, dated, read_mark, without_mark, write_mark
from coffre.errors import PlanUnknownError
from coffre.restore.token import new_token, token_time

moments = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(moments)
def test_the_time_comes_back(moment: datetime) -> None:
    token = new_token(moment)
    assert token_time(token) == moment.replace(microsecond=0)
    assert token != new_token(moment)


@pytest.mark.parametrize(
    "token", ["", "0" * 64, f"{'0' * 32}-20261320T000000Z", f"{'0' * 32}-20261120T000000Z\n"]
)
def test_rubbish_is_no_token(token: str) -> None:
    with pytest.raises(PlanUnknownError):
        token_time(token)


@given(st.text(min_size=1, max_size=70), moments)
def test_a_dated_name_fits_postgresqls_limit(name: str, moment: datetime) -> None:
    made = dated(name, "before", moment)
    assert len(made.encode()) <= 63
    assert made.endswith(moment.strftime("_before_%Y%m%dT%H%M%SZ"))
    assert name.startswith(made.rpartition("_before_")[0])


@given(st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.text())
def test_a_mark_stands_beside_the_owners_comment(comment: str | None, name: str) -> None:
    mark = Mark(name, 1, 2, "2026-11-20T00:00:00.000000Z", "swap")
    own = without_mark(comment)
    marked = write_mark(comment, mark)
    assert read_mark(marked) == mark
    assert without_mark(marked) == (own or None)
    assert write_mark(marked, mark) == marked, "a second mark takes the first one's place"
