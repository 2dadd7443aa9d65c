"""What all results are shown with: tables, facts, words in colour, findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from coffre_cli.output import clean

if TYPE_CHECKING:
    from coffre.results import (
        Finding,
    )


_STYLES = {
    "refuse": "red",
    "warn": "yellow",
    "info": "dim",
    "proven": "green",
    "completed": "green",
    "failed": "red",
    "delete": "red",
    "application-down": "red",
    "inconclusive": "yellow",
    "complete": "green",
    "pending": "yellow",
    "incomplete": "red",
    "upgrade-ready": "green",
    "upgrade-blocked": "red",
    "in_progress": "cyan",
    "met": "green",
    "missed": "red",
    "not measured": "yellow",
}


def word(text: str | None) -> Text:
    """A status, verdict or level in its colour."""
    return Text(text or "", style=_STYLES.get(text or "", ""))


def table(*columns: str, rows: Iterable[Sequence[object]], numbers: Sequence[str] = ()) -> Table:
    """A table; the columns in ``numbers`` are set to the right.  Cells that are text can't hold escapes."""
    found = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        right = column in numbers
        found.add_column(column, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        found.add_row(*(cell if isinstance(cell, Text) else clean(cell) for cell in row))
    return found


def facts(values: Mapping[str, object]) -> Table:
    """Names and values; a value that is empty is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in values.items():
        if isinstance(value, Text) or value not in (None, ""):
            grid.add_row(name, value if isinstance(value, Text) else clean(value))
    return grid


def findings(found: Sequence[Finding]) -> Table:
    """Findings with their advice."""
    rows = (
        (word(item.level), item.code, item.object, "\n".join(filter(None, (item.message, item.advice))))
        for item in found
    )
    return table("level", "code", "object", "what, and what to do", rows=rows)


def findings_below(found: Sequence[Finding]) -> list[RenderableType]:
    """Findings below what comes before them, if there are any."""
    return ["", findings(found)] if found else []
