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
def test_a_case_is_shown_by_tests_that_exist_or_is_said_not_to_be(case: str) -> None:
    named = re.findall(r"`([^`]+\.py)::(\w+)`", ROWS[case])
    assert named or re.search(r"not yet.*\(item \d+", ROWS[case]), "neither a test nor an item"
    for file, test in named:
        functions = {
            node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")
        }
        assert test in functions, f"{file} has no {test}"
