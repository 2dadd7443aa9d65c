"""What programs say is handed on without values of rows and of statements, wherever they stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.said import without_values

FAILED = b"pg_restore: error: could not execute query: ERROR:  no\n"
CASES = {
    "mapping": (
        FAILED + b"HINT:  Look.\nCommand was: CREATE USER MAPPING FOR u SERVER s OPTIONS (\n"
        b"    password 'loot',\n    \"user\" 'loot'\n);\n",
        FAILED + b"HINT:  Look.\nCommand was: CREATE USER MAPPING FOR u SERVER s OPTIONS (\n"
        b"    password ...\n",
    ),
    "function": (
        FAILED + b"Command was: CREATE FUNCTION f() RETURNS text AS $_$\nloot\n$_$;\n\n\n" + FAILED,
        FAILED + b"Command was: CREATE FUNCTION f() RETURNS text AS ...\n" + FAILED,
    ),
    "details": (
        FAILED + b"DETAIL:  Key (a)=(loot\nloot) is duplicated.\nCONTEXT:  f()\nCommand was: CREATE INDEX\n",
        FAILED + b"CONTEXT:  f()\nCommand was: CREATE INDEX\n",
    ),
    "quoted": (
        FAILED + b"LINE 1: SELECT 'loot'\n                ^\nQUERY:  SELECT loot\n" + FAILED,
        FAILED + FAILED,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_statement_ends_at_its_first_value_and_details_are_left_out(case: str) -> None:
    said, shown = CASES[case]
    assert b"".join(without_values(said.splitlines(keepends=True))) == shown


@given(st.lists(st.sampled_from([b"HINT:  a\n", b"pg_dump: error: a\n", b"more\n", b"\xff\n"])))
def test_what_holds_no_values_is_told_whole(lines: list[bytes]) -> None:
    assert list(without_values(lines)) == lines
