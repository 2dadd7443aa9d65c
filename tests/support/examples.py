"""How many examples a property is tried with: few in each run, which are others in the next one, or many."""

from __future__ import annotations

import os

WHOLE = os.environ.get("COFFRE_FAULTS") == "all"
"""``make test-faults``: everything is tried."""


def examples(number: int) -> int:
    """For `hypothesis.settings`: ``number`` in `make test`, twenty times as many where all is tried."""
    return number * 20 if WHOLE else number
