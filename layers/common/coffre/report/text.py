"""Numbers and times as reports write them."""

from __future__ import annotations

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def size(number: float | None) -> str:
    """Bytes in decimal units: ``1.2 MB``."""
    if number is None:
        return "none"
    value, unit = float(number), 0
    while value >= 999.95 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def duration(seconds: float | None) -> str:
    """``3.4 s``, ``12.0 min`` or ``26.0 h``."""
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def moment(text: str) -> str:
    """A time to the minute: ``2026-11-20 03:00 UTC``."""
    return f"{text[:10]} {text[11:16]} UTC" if text else ""


def dollars(amount: float) -> str:
    """``$12.34``; a sum below a cent says so."""
    return "less than $0.01" if 0 < amount < 0.01 else f"${amount:,.2f}"
