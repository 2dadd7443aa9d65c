"""``python -m bench``: measure, print tables, write them to ``bench/RESULTS.md``.

A goal that is missed is shown and changes nothing else; a program that fails, or wrong rows, end it with
status 1.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from bench import capture, costs, dedup, imports, load, machine, memory, runtime
from bench.lab import FAST, HERE, MAJOR, ROOT, BenchError, Lab
from bench.rehearsal import measure as rehearsal
from bench.report import Table
from coffre.errors import CoffreError

SECTIONS: dict[str, Callable[[Lab], Iterator[Table]]] = {
    "capture": capture.measure,
    "load": load.measure,
    "dedup": dedup.measure,
    "memory": memory.measure,
    "imports": imports.measure,
    "rehearsal": rehearsal.measure,
    "costs": costs.measure,
}
RESULTS = HERE / "RESULTS.md"
PLAIN_WIDTH = 150
"""Columns where the output isn't a terminal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sections that were asked for; the exit status."""
    asked = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and files are cleared away
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    postgres = _assemble()
    python = runtime.prepare(ROOT / ".coffre" / "runtime")
    about = machine.describe(postgres)
    about.append(f"rows factor {asked.rows_factor:g}, best of {asked.repeat} runs")
    for line in about:
        console.print(line, highlight=False)
    found: dict[str, list[Table]] = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="coffre-bench-") as scratch:
        Path(scratch).chmod(0o755)  # the server may run as somebody else
        fast = FAST if os.access(FAST, os.W_OK) else Path(scratch)
        lab = Lab(postgres, python, Path(scratch), fast, asked.rows_factor, asked.repeat, console)
        try:
            for name in asked.sections:
                console.rule(name)
                found[name] = [_shown(table, console) for table in SECTIONS[name](lab)]
        except (BenchError, CoffreError, subprocess.SubprocessError) as error:
            console.print(f"error: {error}", style="bold red", markup=False)
            return 1
    about.append(f"sections {', '.join(found)}, {time.monotonic() - started:.0f} s in all")
    asked.output.write_text(_document(about, found))
    missed = [name for tables in found.values() for table in tables for name in table.missed]
    console.print(f"missed: {'; '.join(missed)}" if missed else "every goal was reached", markup=False)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Coffre against others.")
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; default: all"
    )
    parser.add_argument("--rows-factor", type=float, default=1.0, help="times the usual number of rows")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each contestant; the best one counts")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the tables are written")
    asked = parser.parse_args(arguments)
    asked.sections = asked.sections or list(SECTIONS)
    unknown = set(asked.sections) - set(SECTIONS)
    if unknown or asked.repeat < 1 or asked.rows_factor <= 0:
        parser.error(
            f"unknown sections: {', '.join(sorted(unknown))}" if unknown else "numbers must be positive"
        )
    return asked


def _assemble() -> Path:
    """PostgreSQL as the layers ship it; put together once."""
    destination = ROOT / ".coffre" / "opt"
    for layer in (["postgres"], ["proof", str(MAJOR)]):
        command = [
            sys.executable,
            str(ROOT / "layers" / layer[0] / "assemble.py"),
            str(destination),
            *layer[1:],
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    return destination / "postgres"


def _shown(table: Table, console: Console) -> Table:
    table.show(console)
    return table


def _document(about: Sequence[str], found: dict[str, list[Table]]) -> str:
    parts = [
        "# Results\n",
        "Written by `make bench`. Ratios within one run on one machine; seconds are for orientation only.\n",
        "\n".join(f"- {line}" for line in about) + "\n",
    ]
    for name, tables in found.items():
        parts += [f"## {name}\n", *(table.markdown() for table in tables)]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
