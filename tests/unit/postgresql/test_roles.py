"""What the catalog says of roles and databases becomes SQL, and nothing in it is obeyed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.connection import identifier, literal
from coffre.databases.postgresql.database_rights import give_grants, rights_of
from coffre.databases.postgresql.roles import create_role, lacks_expiry, set_configuration
from coffre.vault.parts import DatabaseRecord, Role

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


def test_a_role_expires_as_it_did_and_one_that_did_not_has_no_expiry() -> None:
    assert create_role(Role("r", ("LOGIN", "VALID UNTIL 'infinity'"))) == 'CREATE ROLE "r" WITH LOGIN'
    expiring = Role("r", ("LOGIN", "VALID UNTIL '2031-01-01 00:00:00+00'"))
    assert create_role(expiring) == "CREATE ROLE \"r\" WITH LOGIN VALID UNTIL '2031-01-01 00:00:00+00'"
    assert [lacks_expiry(role) for role in (expiring, Role("r", ("LOGIN",)), Role("r", ("NOLOGIN",)))] == [
        False,
        True,
        False,
    ]


@given(
    items=st.lists(
        st.tuples(st.just("") | names, st.lists(st.sampled_from(["C", "T", "c", "C*", "T*", "c*"]))),
        max_size=4,
    )
)
def test_grants_are_read_as_the_server_writes_them(items: list[tuple[str, list[str]]]) -> None:
    def written(role: str) -> str:
        return role if re.fullmatch(r"\w*", role, re.ASCII) else identifier(role)

    grants = tuple(f"{written(role)}={''.join(letters)}/{written('the owner')}" for role, letters in items)
    rights = rights_of(DatabaseRecord("the owner", None, grants, ()), {})
    words = {"C": "CREATE", "T": "TEMPORARY", "c": "CONNECT"}
    expected = [(role, words[one[0]], one.endswith("*")) for role, letters in items for one in letters]
    assert (list(rights.grants), rights.unknown, rights.default) == (expected, (), not items)


def test_only_privileges_that_are_known_become_statements() -> None:
    record = DatabaseRecord("o", None, ("=T/o", "r=cX/o", "r=c/o; DROP ROLE x", "r=;/o", "gone=c/o"), ())
    rights = rights_of(record, {"r": "s"})
    assert rights.unknown == ("r=cX/o", "r=;/o")
    assert list(give_grants(rights, "d", "o", {"s"})) == [
        'SET LOCAL ROLE "o"',
        'REVOKE ALL ON DATABASE "d" FROM PUBLIC',
        'REVOKE ALL ON DATABASE "d" FROM "o"',
        'GRANT TEMPORARY ON DATABASE "d" TO PUBLIC',
        'GRANT CONNECT ON DATABASE "d" TO "s"',
        "SET LOCAL ROLE NONE",
    ]
