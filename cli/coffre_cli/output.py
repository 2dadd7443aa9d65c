"""Printing: results on standard output, everything else on standard error; numbers for people."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from coffre_cli.errors import OutputLostError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH = 200
"""Columns where the output isn't a terminal: tables in files and pipes aren't cut."""


def console(*, error: bool = False) -> Console:
    """Standard output or standard error.  Honours NO_COLOR; text is never read as markup."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def emit(document: Any, as_json: bool, *renderables: RenderableType) -> None:
    """Print a result: the document as JSON, or what stands for it for people.

    Raises
    ------
    OutputLostError
    SystemExit
        If whoever reads the output has seen enough, as `head` has.
    """
    if sys.stdout is None:
        raise OutputLostError("standard output is closed")
    try:
        if as_json:
            sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
        else:
            out = console()
            for renderable in renderables:
                out.print(renderable)
        sys.stdout.flush()
    except OSError as error:
        _drop_output()
        if isinstance(error, BrokenPipeError):
            raise SystemExit(1) from error
        raise OutputLostError(f"standard output can't be written: {error.strerror}") from error


def _drop_output() -> None:
    """What is buffered still would fail a second time when the interpreter ends."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(*renderables: RenderableType) -> None:
    """Print a message that isn't the result."""
    err = console(error=True)
    for renderable in renderables:
        err.print(renderable, soft_wrap=isinstance(renderable, str))


@cache
def _unprintable() -> dict[int, str]:
    """Control characters and how they are shown: names come from databases, which may hold anything."""
    codes = [*range(0x20), *range(0x7F, 0xA0)]
    return {code: f"\\x{code:02x}" for code in codes if code != 0x0A}


def clean(value: object) -> str:
    """Text that can't steer a terminal."""
    return str(value).translate(_unprintable())


def count(number: int | None) -> str:
    """A number with separators: ``1,234,567``."""
    return "" if number is None else f"{number:,}"


def several(number: int, noun: str) -> str:
    """A number of things: ``1 chunk``, ``1,234 chunks``."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def size(number: float | None) -> str:
    """Bytes in decimal units: ``1.2 MB``."""
    from rich.filesize import decimal

    return "" if number is None else decimal(int(number))


def duration(seconds: float | None) -> str:
    """``3.4 s``, or ``1:02:03`` from two minutes on."""
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 120 else str(timedelta(seconds=round(seconds)))


def moment(text: str | None) -> str:
    """A time in RFC 3339, to the second: ``2026-11-20 03:00:00 UTC``."""
    return f"{text[:10]} {text[11:19]} UTC" if text else ""
