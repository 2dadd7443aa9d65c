"""The `coffre` command: its parts put together, and what it answers when something goes wrong."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import typer

from coffre.errors import CoffreError, describe
from coffre_cli import (
    backups,
    databases,
    drill,
    following,
    holds,
    loadtest,
    local,
    operations,
    planning,
    reports,
    restore,
)
from coffre_cli.errors import OutputLostError, UsageError, translate
from coffre_cli.output import clean, emit, note

HELP = """Proven PostgreSQL backups into your own bucket.

Talks to the stack named by --stack or COFFRE_STACK; without one, to the local cloud whose state is nearest:
COFFRE_HOME, or a folder `.coffre` here or above.

Exit codes: 0 done; 1 the job failed, or the verdict is `failed` or `missed`; 2 bad usage or bad input; 3 the
verdict is `inconclusive`; 130 interrupted.
"""

INTERRUPTED = 130

app = typer.Typer(
    help=HELP,
    # Plain help: it wraps paragraphs, and asking for it need not import rich.
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(local.app, name="local")
app.add_typer(databases.app, name="databases")
app.command()(backups.backup)
app.command()(planning.plan)
app.command()(following.status)
app.command("list")(backups.list_backups)
app.command("show")(backups.show_backup)
app.command()(backups.verify)
app.add_typer(restore.app, name="restore")
app.command()(drill.drill)
app.command()(loadtest.loadtest)
app.command()(operations.rotate)
app.command()(operations.recheck)
app.command()(holds.hold)
app.command()(holds.release)
app.command()(operations.health)
app.command()(operations.objectives)
app.command()(reports.report)
app.add_typer(operations.catalogue, name="catalogue")


def run() -> None:
    """The entry point."""
    if sys.stderr is None:  # it is closed: nobody wants to be told anything
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments:
        Without the program's name.

    Returns
    -------
    int
        The exit code.
    """
    as_json = "--json" in arguments
    try:
        _check_text(arguments)
        code: Any = _command()(args=list(arguments) or ["--help"], prog_name="coffre", standalone_mode=False)
    except typer.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.TyperException as error:
        return _report(_usage(error), as_json)
    except Exception as error:
        return _report(_ours(error), as_json)
    return code if isinstance(code, int) else 0


def _check_text(arguments: Sequence[str]) -> None:
    """Refuse what isn't text: neither an event nor a secret could hold it.

    Raises
    ------
    UsageError
        Which doesn't repeat the argument: it may hold a password.
    """
    for number, argument in enumerate(arguments, 1):
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"argument {number} isn't UTF-8") from error


@cache
def _command() -> Callable[..., Any]:
    """The whole tree of commands; making it takes longer than many a command."""
    return typer.main.get_command(app)


def _usage(error: typer.TyperException) -> UsageError:
    context: typer.Context | None = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "coffre"
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    return UsageError(message, f"`{where} --help` shows what is possible.")


def _ours(error: Exception) -> CoffreError:
    """The error as one of ours; a defect shows its traceback."""
    known = error if isinstance(error, CoffreError) else translate(error)
    if known is not None:
        return known
    traceback.print_exception(error)
    fault = describe(error)
    return CoffreError(fault["message"], "This is a defect of Coffre; please report it with the lines above.")


def _report(error: CoffreError, as_json: bool) -> int:
    """Say what went wrong; returns the exit code."""
    if as_json and not isinstance(error, OutputLostError):
        fault = {
            "code": error.code,
            "message": error.message,
            "advice": error.hint,
            "type": type(error).__name__,
        }
        with suppress(OutputLostError):
            emit({"error": fault}, True)
            return error.exit_code
    note(f"[{error.code}] {clean(error.message)}", *([clean(error.hint)] if error.hint else []))
    return error.exit_code
