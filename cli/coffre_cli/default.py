"""A group of commands one of which needs no word: ``coffre restore shop latest``."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

DEFAULT = "run"
_HELP = {"-h", "--help"}


class DefaultGroup(TyperGroup):
    """Takes what isn't the name of one of its commands for arguments of the command ``run``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the word in where it is left out."""
        if args and args[0] not in {*self.commands, *_HELP}:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)
