"""What a measurement ran on."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from bench.tls import PROGRAMS as DEBIAN


def describe(postgres: Path) -> list[str]:
    """Lines on the machine and the programs.

    Parameters
    ----------
    postgres:
        The folder of the PostgreSQL layer.
    """
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"{os.cpu_count()} cores, {_processor()}, {_memory():.0f} GiB of memory",
        f"Python {platform.python_version()}, {platform.system()} {platform.release()}",
        _version([str(postgres.parent / "proof/18/bin/postgres"), "--version"]),
    ]
    others = [[str(DEBIAN / "postgres"), "--version"], ["gzip", "--version"], ["zstd", "--version"]]
    return [line for line in [*lines, *map(_version, others)] if line]


def _version(command: list[str]) -> str:
    """The first line that a program says of itself; empty if it isn't there."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.strip().splitlines()[0].strip("* ")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
