"""What the catalog says of roles and databases becomes SQL, and nothing in it is obeyed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.connection import identifier, literal
from coffre.databases.postgresql.roles import set_configuration

LITERAL = r"(?: E'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*')"
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("search_path=app, public", "'app', 'public'"),
        ('search_path="$user", "Odd ""One"",", public', "'$user', 'Odd \"One\",', 'public'"),
        ('search_path=""', "''"),
        ("search_path=", "''"),
        ("search_path=public;DROP/**/ROLE/**/x", "'public;DROP/**/ROLE/**/x'"),
        ("search_path=a b; DROP ROLE x", "'a b; DROP ROLE x'"),
        ("DateStyle=ISO, DMY", "'ISO, DMY'"),
        ("app.note=it's, a \\ note", " E'it''s, a \\\\ note'"),
    ],
)
def test_a_setting_has_the_value_that_it_had(setting: str, value: str) -> None:
    name = setting.partition("=")[0]
    assert set_configuration("ROLE x", setting) == f'ALTER ROLE x SET "{name}" TO {value}'


@given(
    name=st.sampled_from(["search_path", "session_preload_libraries", "statement_timeout"]), value=st.text()
)
def test_no_setting_leaves_its_quotes(name: str, value: str) -> None:
    statement = set_configuration("ROLE x", f"{name}={value}")
    start = f'ALTER ROLE x SET "{name}" TO '
    assert re.fullmatch(f"{re.escape(start)}{LITERAL}(?:, {LITERAL})*", statement, re.DOTALL)


@given(elements=st.lists(names, min_size=1, max_size=5))
def test_each_element_of_a_list_comes_back(elements: list[str]) -> None:
    written = ", ".join(map(identifier, elements))
    statement = set_configuration("ROLE x", f"search_path={written}")
    assert statement == f'ALTER ROLE x SET "search_path" TO {", ".join(map(literal, elements))}'
