"""Files that the command writes where its user says."""

from __future__ import annotations

import os
from pathlib import Path

from coffre_cli.errors import SystemRefusedError, UsageError
from coffre_cli.output import note


def check_writable(file: Path) -> None:
    """A file that can't be written is found out now, not after the work.

    Raises
    ------
    UsageError
    """
    existed = os.path.lexists(file)
    try:
        with file.open("ab"):
            pass
        if not existed:
            file.unlink()
    except OSError as error:
        raise UsageError(f"{file} can't be written: {error.strerror}", "Name another file.") from error


def write(file: Path, text: str) -> None:
    """Write a file, and say so.

    Raises
    ------
    SystemRefusedError
    """
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SystemRefusedError(f"{file} can't be written: {error.strerror}") from error
    note(f"{file} is written")
