"""The compiled twin of the inner loops, where it is installed; everything works without it, more slowly."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any


@cache
def compiled() -> Any | None:
    """The package ``coffre_native`` (``layers/common/native``); None if it can't be loaded here."""
    try:
        return importlib.import_module("coffre_native")
    except ImportError:
        return None
