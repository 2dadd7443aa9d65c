"""What a state machine says of what went wrong in it."""

from __future__ import annotations

import json
from typing import Any


def caught(error: dict[str, Any] | None) -> tuple[str, str]:
    """(code, message) of what a state machine caught: a function's error, or the machine's own.

    Parameters
    ----------
    error:
        ``Error`` and ``Cause``.  A function's error has Coffre's code in brackets before its message.
    """
    name, cause = str((error or {}).get("Error", "")), str((error or {}).get("Cause", ""))
    try:
        text = str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        text = cause
    if text.startswith("[") and "]" in text:
        code, _, message = text[1:].partition("]")
        return code, message.strip()
    return "function-failed", f"the state machine ended with {name or 'an error'}: {text or 'no cause given'}"
