"""Statements of pg_dump's are fitted to an older server, or to a role that is no superuser, by words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.adapting import _by_role, _Fit, _without_owner

START = "CREATE SUBSCRIPTION s CONNECTION 'x=''-c a=b, run_as_owner = true''' PUBLICATION p WITH "


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ("connect = false, run_as_owner = true", "connect = false"),
        ("connect = false, slot_name = 'a, run_as_owner', run_as_owner = true, origin = none",) * 2,
        ("connect = false, slot_name = 'x'",) * 2,
    ],
)
def test_the_option_goes_wherever_it_stands_and_literals_stay(options: str, left: str) -> None:
    expected = left.replace(", run_as_owner = true", "")
    assert _without_owner(f"{START}({options});\n") == f"{START}({expected});\n"


def test_a_grantor_is_made_by_set_role() -> None:
    given_by = 'SET SESSION AUTHORIZATION "AUTHORIZATION";\nGRANT ALL ON TABLE s."SESSION" TO session;\n'
    expected = 'SET ROLE "AUTHORIZATION";\nGRANT ALL ON TABLE s."SESSION" TO session;\nRESET ROLE;\n'
    assert _by_role(f"{given_by}RESET SESSION AUTHORIZATION;\n") == expected


@given(st.text(), st.sampled_from(["ACL", "SUBSCRIPTION", "TABLE", "FUNCTION"]))
def test_what_needs_nothing_stays(text: str, description: str) -> None:
    assert _Fit(subscriptions=False, grants=False).statement(description, text) == text
