"""`docs/faults.md` names every case, and for each a test that exists, or says that there is none yet."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text()
ROWS = dict(re.findall(r"^\| ([A-D]\d\d) \| (.*) \|$", PAGE, re.MULTILINE))
CASES = [
    f"{kind}{n:02}" for kind, last in (("A", 33), ("B", 17), ("C", 6), ("D", 10)) for n in range(1, last + 1)
]


def test_every_case_has_a_line() -> None:
    assert list(ROWS) == CASES


@pytest.mark.parametrize("case", CASES)
def test_a_case_is_shown_by_tests_or_is_said_not_to_be(case: str) -> None:
    named = named_in(ROWS[case])
    assert named or re.search(r"not yet.*\(item \d+", ROWS[case]), "neither a test nor an item"


def test_every_test_that_is_named_exists() -> None:
    known: dict[str, set[str]] = {}
    for file, test in named_in(PAGE):
        if file not in known:
            tree = ast.parse((ROOT / file).read_text())
            known[file] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert test in known[file], f"{file} has no {test}"


def named_in(text: str) -> list[tuple[str, str]]:
    """(file, name) of the tests that a text names."""
    return re.findall(r"`([^`]+\.py)::(\w+)`", text)
