"""Progress of a run that goes on elsewhere, on standard error; nothing where that isn't a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coffre.errors import CatalogueUnavailableError
from coffre_cli.output import console, count

if TYPE_CHECKING:
    from coffre.catalogue.index import Catalogue
    from coffre_cli.stack import Stack


@dataclass(frozen=True)
class Reading:
    """How far a run is: bytes ``done`` of ``total`` (0: not known yet), and rows."""

    done: int
    total: int
    rows: int


@contextmanager
def bar(label: str, read: Callable[[], Reading | None]) -> Iterator[Callable[[], None]]:
    """A bar with bytes, rate, rows and the time left.  Yields what must be called to bring it up to date.

    Parameters
    ----------
    label:
        What goes on.
    read:
        Looks how far it is.  The catalogue being away for a moment is no reason to give up the run.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    out = console(error=True)
    if not out.is_terminal:
        yield _nothing
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[rows]} rows", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out, transient=True) as progress:
        task = progress.add_task(label, total=None, rows="0")

        def tick() -> None:
            try:
                reading = read()
            except CatalogueUnavailableError:
                return
            if reading is not None:
                total = reading.total or None
                progress.update(task, completed=reading.done, total=total, rows=count(reading.rows))

        yield tick


def backup_reader(catalogue: Catalogue, database: str, backup_id: str) -> Callable[[], Reading | None]:
    """Looks how far a backup is, by its entry in the catalogue."""

    def read() -> Reading | None:
        entry = catalogue.backup(database, backup_id)
        return Reading(entry.done, entry.total, entry.rows) if entry else None

    return read


def run_reader(stack: Stack, database: str, kind: str, backup_id: str) -> Callable[[], Reading | None]:
    """Looks how far the verification or the restore of a backup is, by its record in the catalogue."""
    catalogue, start = stack.catalogue(), "" if backup_id == "latest" else backup_id

    def read() -> Reading | None:
        for run in catalogue.live_runs(database):
            if run.kind == kind and run.run_id.startswith(start):
                return Reading(run.done, run.total, run.rows)
        return None

    return read


@contextmanager
def spinner(label: str) -> Iterator[Callable[[str], None]]:
    """A spinner with the time that has passed, for what can't be measured.  Yields what changes its text."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    out = console(error=True)
    if not out.is_terminal:
        yield lambda _: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda text: progress.update(task, description=text)


def _nothing() -> None:
    """What there is to bring up to date where nothing is shown."""
