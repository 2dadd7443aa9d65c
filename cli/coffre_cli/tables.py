"""What all results are shown with: tables, facts, words in colour, findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
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


NARROWEST = 12
"""Columns of the terminal into which a column of words may be folded."""
_GAP = 2


@dataclass(frozen=True)
class FittedTable:
    """A table that leaves columns out, and says so, where not all of them have room.

    Numbers and the columns in ``whole`` are folded only where nothing else is left to give way: who copies an
    id from the screen needs all of it in one line.

    Attributes
    ----------
    numbers:
        Columns that are set to the right.
    whole:
        Columns that aren't folded, such as ids and statuses.
    gives_way:
        Columns that may be left out, the first one first.
    none:
        What is said where there is no row: a head alone looks like an answer that was lost.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    numbers: Sequence[str]
    whole: Sequence[str]
    gives_way: Sequence[str]
    none: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As rich prints it, in the room that there is."""
        if self.none and not self.rows:
            yield Text(self.none)
            return
        left_out: list[str] = []
        while not (fits := self._narrowest(left_out) <= options.max_width):
            if len(left_out) == len(self.gives_way):
                break
            left_out.append(self.gives_way[len(left_out)])
        yield self._made(left_out, folded=not fits)
        if left_out:
            yield Text(f"no room for: {'; '.join(left_out)}", style="dim")

    def _narrowest(self, left_out: Sequence[str]) -> int:
        """The room that is needed."""
        needed = -_GAP
        for number, name in enumerate(self.columns):
            if name not in left_out:
                width = max(map(_width, (name, *(row[number] for row in self.rows))))
                needed += _GAP + (width if self._is_whole(name) else min(width, NARROWEST))
        return needed

    def _is_whole(self, name: str) -> bool:
        return name in self.numbers or name in self.whole

    def _made(self, left_out: Sequence[str], *, folded: bool) -> Table:
        found = Table(box=None, header_style="bold", pad_edge=False)
        shown = [number for number, name in enumerate(self.columns) if name not in left_out]
        for number in shown:
            name = self.columns[number]
            right, no_wrap = name in self.numbers, self._is_whole(name) and not folded
            found.add_column(name, justify="right" if right else "left", no_wrap=no_wrap, overflow="fold")
        for row in self.rows:
            found.add_row(*(row[number] for number in shown))
        return found


def _width(cell: str | Text) -> int:
    return max(map(cell_len, str(cell).splitlines()), default=0)


def table(
    *columns: str,
    rows: Iterable[Sequence[object]],
    numbers: Sequence[str] = (),
    whole: Sequence[str] = (),
    gives_way: Sequence[str] = (),
    none: str = "",
) -> FittedTable:
    """A table; see `FittedTable`.  Cells that are text can't hold escapes."""
    cleaned = [tuple(cell if isinstance(cell, Text) else clean(cell) for cell in row) for row in rows]
    return FittedTable(columns, cleaned, numbers, whole, gives_way, none)


def facts(values: Mapping[str, object]) -> Table:
    """Names and values; a value that is empty is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in values.items():
        if isinstance(value, Text) or value not in (None, ""):
            grid.add_row(name, value if isinstance(value, Text) else clean(value))
    return grid


def findings(found: Sequence[Finding]) -> FittedTable:
    """Findings with their advice."""
    rows = (
        (word(item.level), item.code, item.object, "\n".join(filter(None, (item.message, item.advice))))
        for item in found
    )
    return table("level", "code", "object", "what, and what to do", rows=rows, whole=("level", "code"))


def findings_below(found: Sequence[Finding]) -> list[RenderableType]:
    """Findings below what comes before them, if there are any."""
    return ["", findings(found)] if found else []
