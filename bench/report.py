"""Tables of a measurement: on the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table as RichTable


@dataclass(frozen=True)
class Goal:
    """A number that the project wants to reach: at least or at most ``limit``."""

    relation: Literal["at least", "at most"]
    limit: float
    unit: str = "x"

    def reached(self, value: float) -> bool:
        """Whether ``value`` reaches it."""
        return value >= self.limit if self.relation == "at least" else value <= self.limit

    def cells(self, value: float) -> tuple[str, str]:
        """How a table shows the goal, and whether it was reached."""
        return f"{self.relation} {self.limit:g} {self.unit}", "reached" if self.reached(value) else "missed"


@dataclass(frozen=True)
class Table:
    """Rows of text below a title; ``notes`` say how to read them."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    @property
    def missed(self) -> list[str]:
        """The title and the first cell of each row whose goal was missed."""
        return [f"{self.title}: {row[0]}" for row in self.rows if row[-1] == "missed"]

    def show(self, console: Console) -> None:
        """Print it."""
        shown = RichTable(title=self.title, title_justify="left")
        for number, column in enumerate(self.columns):
            shown.add_column(column, justify="right" if number else "left")
        for row in self.rows:
            style = {"missed": "bold red", "reached": "green"}.get(row[-1], "")
            shown.add_row(*row[:-1], f"[{style}]{row[-1]}[/]" if style else row[-1])
        console.print(shown)
        for note in self.notes:
            console.print(f"  {note}", style="dim", highlight=False)

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [f"### {self.title}", "", _line(self.columns)]
        lines.append("|" + "|".join([" :-- ", *[" --: "] * (len(self.columns) - 1)]) + "|")
        lines += [_line([*row[:-1], "**missed**" if row[-1] == "missed" else row[-1]]) for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines).rstrip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def ratio(value: float) -> str:
    """A ratio as a table shows it."""
    return f"{value:.2f} x"


def seconds(value: float) -> str:
    """Seconds as a table shows them."""
    return f"{value:.2f} s"


def mebibytes(value: float) -> str:
    """Bytes as a table shows them, in MiB."""
    return f"{value / (1 << 20):.1f} MiB"
