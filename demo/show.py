"""What a person sees: numbered steps, commands, their results, and bars where something takes time."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from coffre_cli.output import clean, console
from coffre_cli.tables import facts

INDENT = 4


class Show:
    """Prints the story.  Bars move only on a terminal; elsewhere each result is a plain line."""

    def __init__(self) -> None:
        self.console = console()
        self._steps = 0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._began

    def step(self, title: str) -> None:
        """Begin a numbered step."""
        self._steps += 1
        self.console.print()
        self.console.print(Text(f"{self._steps:>2}  {title}", style="bold"))

    def say(self, text: str) -> None:
        """A sentence that explains."""
        self._print(Text(text, style="dim"))

    def done(self, text: str) -> None:
        """Something that came out as it should."""
        self._print(Text.assemble(("✓ ", "green"), clean(text)))

    def command(self, arguments: Sequence[str]) -> None:
        """The `coffre` command that runs next, as a person would type it."""
        text = Text(f"{' ' * INDENT}$ {shlex.join(['coffre', *arguments])}", style="cyan")
        self.console.print(text, soft_wrap=True)

    def sql(self, database: str, statement: str) -> None:
        """SQL that runs next, as psql would show it."""
        text = Text(f"{' ' * INDENT}{database}=# {statement};", style="magenta")
        self.console.print(text, soft_wrap=True)

    def result(self, *renderables: RenderableType) -> None:
        """What a command answered."""
        for renderable in renderables:
            self._print(renderable)

    def failed(self, message: str) -> None:
        """The end of a demo that didn't go well."""
        self.console.print()
        self.console.print(Text.assemble(("✗ ", "bold red"), clean(message)), soft_wrap=True)

    def summary(self, values: Mapping[str, str]) -> None:
        """The end of a demo that went well."""
        self.console.print()
        self.console.print(Text("Summary", style="bold"))
        self._print(facts(values))

    @contextmanager
    def bars(self) -> Iterator[Bars]:
        """Bars that vanish at the end; without a terminal there are none."""
        columns = (
            TextColumn("   {task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
        )
        if not self.console.is_terminal:
            yield Bars(None)
            return
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield Bars(progress)

    def _print(self, renderable: RenderableType) -> None:
        self.console.print(Padding(renderable, (0, 0, 0, INDENT), expand=False))


class Bars:
    """A few bars, each known by its label; none at all where nothing can move."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def update(self, label: str, done: float = 0, total: float | None = None, note: str = "") -> None:
        """Show how far something is.  Without a total the bar only pulses.

        Parameters
        ----------
        done, total:
            In any unit that both share.
        note:
            What stands beside the bar.
        """
        if self._progress is None:
            return
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(label, total=None, note="")
        shown = min(done, total) if total else done
        self._progress.update(self._tasks[label], completed=shown, total=total or None, note=note)
