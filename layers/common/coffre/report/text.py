"""Numbers and times as reports write them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coffre.results import MonthlyReport

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


def scores(report: MonthlyReport) -> str:
    """``70 at the lowest, 93 on average``, or ``...; scores of 23 of 30 days`` where there are holes."""
    told = []
    if report.lowest_score is not None:
        average = f", {report.mean_score:.0f} on average" if report.mean_score is not None else ""
        told.append(f"{report.lowest_score:.0f} at the lowest{average}")
    if report.scored_days < report.scored_of:
        told.append(f"scores of {report.scored_days} of {report.scored_of} days")
    return "; ".join(told)


def dollars(amount: float) -> str:
    """``$12.34``; a sum below a cent says so."""
    return "less than $0.01" if 0 < amount < 0.01 else f"${amount:,.2f}"


def milliseconds(seconds: float | None) -> str:
    """``3.4 ms``, or seconds from one on."""
    if seconds is None:
        return "unknown"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else duration(seconds)


def percent(share: float) -> str:
    """``99.95 %``: rounded down, so that less than all never reads as 100 %."""
    return f"{math.floor(round(share * 100, 6)) / 100:g} %"


def phases(times: Mapping[str, float], speeds: Mapping[str, float]) -> str:
    """``schema 0.6 s, rows 9.0 s (12.0 MB/s)``: how long each phase took, and its speed if that is known."""
    told = (
        f"{name.replace('_', ' ')} {duration(seconds)}"
        + (f" ({size(speeds[name])}/s)" if name in speeds else "")
        for name, seconds in times.items()
    )
    return ", ".join(told)
