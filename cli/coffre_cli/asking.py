"""Asking the person at the keyboard, also where standard input is something else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from pathlib import Path
from typing import TextIO

import typer

from coffre_cli.errors import NotConfirmedError, UsageError

TERMINAL = Path("/dev/tty")
"""The controlling terminal of the process, if it has one."""


def secret_line(what: str) -> str:
    """A line of standard input; at a terminal it is asked for, and what is typed isn't shown.

    Parameters
    ----------
    what:
        What is asked for, for example ``URL``.

    Raises
    ------
    UsageError
        If there is no standard input, or it isn't text.
    typer.Abort
        If the person at the terminal gives up.
    """
    if _at_a_terminal():
        # It turns off the echo before it prompts, so that nothing typed early is shown.
        try:
            return getpass(f"{what}: ").strip()
        except EOFError as error:
            raise typer.Abort from error
    if sys.stdin is None:
        raise UsageError(f"standard input is closed: no {what} can be read")
    try:
        return sys.stdin.readline().strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"the {what} on standard input isn't UTF-8") from error


def refuse_if_nobody_can_be_asked(*, input_is_used: bool) -> None:
    """Find out now, not after the plan is made.

    Parameters
    ----------
    input_is_used:
        Whether standard input says something else: then the controlling terminal is asked.

    Raises
    ------
    NotConfirmedError
    """
    if _at_a_terminal():
        return
    if input_is_used:
        try:
            TERMINAL.open().close()
        except OSError:
            pass
        else:
            return
    raise NotConfirmedError("nobody can be asked here", "Give `--yes` to run the plan without asking.")


def confirm(question: str) -> bool:
    """Ask a question of yes or no at the terminal that `refuse_if_nobody_can_be_asked` found."""
    if _at_a_terminal():
        return typer.confirm(question, err=True)
    with TERMINAL.open() as keyboard, _read_from(keyboard):
        return typer.confirm(question, err=True)


def _at_a_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


@contextmanager
def _read_from(keyboard: TextIO) -> Iterator[None]:
    """Let ``keyboard`` be standard input."""
    before, sys.stdin = sys.stdin, keyboard
    try:
        yield
    finally:
        sys.stdin = before
