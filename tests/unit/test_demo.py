"""The demo says so when something isn't as it should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from demo.commands import Coffre
from demo.content import Content, differences
from demo.errors import DemoError
from demo.show import Show

CONTENT = Content(
    rows={"shop.orders": (3, "77"), "shop.items": (0, "")},
    tables=2,
    table_rows=3,
    objects={"index shop.by_day": "CREATE INDEX ..."},
)


def test_equal_contents_have_no_differences() -> None:
    assert differences(CONTENT, replace(CONTENT)) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (replace(CONTENT, rows={**CONTENT.rows, "shop.orders": (3, "78")}), "shop.orders: (3, '78') instead"),
        (replace(CONTENT, rows={"shop.orders": (3, "77")}), "shop.items: missing"),
        (replace(CONTENT, rows={**CONTENT.rows, "shop.more": (0, "")}), "shop.more: not expected"),
        (replace(CONTENT, objects={}), "index shop.by_day: missing"),
    ],
)
def test_whatever_differs_is_named(changed: Content, told: str) -> None:
    [difference] = differences(CONTENT, changed)

    assert difference.startswith(told)


def test_a_command_that_ends_otherwise_than_expected_stops_the_demo_with_its_reason(tmp_path: Path) -> None:
    coffre = Coffre(tmp_path, Show())

    with pytest.raises(DemoError, match=r"`coffre list market` ended with 2 instead of 0: \[no-stack\]"):
        coffre("list", "market")


def test_a_command_that_shall_fail_is_answered_when_it_does(tmp_path: Path) -> None:
    answer = Coffre(tmp_path, Show())("list", "market", expect=2)

    assert answer["error"]["code"] == "no-stack"
