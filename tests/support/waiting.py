"""Waiting for what must come, on however slow a machine; never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 240.0
"""After which nothing comes any more: no test's outcome depends on it."""

T = TypeVar("T")


def soon(look: Callable[[], T | None], what: str, *, pause: float = 0.05) -> T:
    """The first thing that ``look`` finds; ``what`` says for what it looks, every ``pause`` seconds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(pause)
    raise AssertionError(f"{what}: nothing came")
