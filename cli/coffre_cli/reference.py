"""Makes docs/commands.md from the commands: ``python -m coffre_cli.reference > docs/commands.md``."""

from __future__ import annotations

import sys

import typer.main
from typer.cli import get_docs_for_click

from coffre_cli.main import app


def reference() -> str:
    """The reference of all commands as Markdown."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(
        obj=command, ctx=typer.Context(command), name="coffre", title="The `coffre` command"
    )
    return text.rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
