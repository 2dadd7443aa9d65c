"""What a restore on the state machine hands on of what it found, in whatever language."""

from __future__ import annotations

import json

import pytest

from coffre.restore.machine import told
from coffre.results import LISTED, Finding

STATE_BYTES = (256 - 16) << 10
"""What a state machine hands on at most, without what it tells of the run and of the function's answer."""


@pytest.mark.parametrize("letter", ["a", "表", "\U0001f40c", "\n", "\udc80"])
def test_findings_and_exceptions_fit_into_a_state_in_whatever_language(letter: str) -> None:
    found = Finding(
        level="warn", code="c" * 30, object=letter * 900, message=letter * 900, advice=letter * 900
    )
    shown = told([found] * (3 * LISTED))
    assert len(json.dumps({"findings": shown, "exceptions": shown})) < STATE_BYTES
    assert shown[0]["message"]
    assert shown[-1]["code"] == "more"


def test_what_is_short_is_handed_on_whole() -> None:
    found = Finding(level="warn", code="left-out", object="public.表", message="ü" * 60, advice="Look.")
    assert told([found]) == [found.model_dump()]
