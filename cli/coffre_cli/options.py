"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from coffre.ids import BACKUP_ID, BACKUP_TYPES, DATABASE_NAME, KMS_KEY

Type = Literal["hourly", "daily", "weekly", "monthly", "manual", "safety"]
Status = Literal["pending", "in_progress", "completed", "failed", "deleted"]
Runs = Literal["auto", "function", "machine"]


def database_name(name: str | None) -> str | None:
    """A database's name, as it was given.

    Raises
    ------
    typer.BadParameter
    """
    if name is not None and not DATABASE_NAME.match(name):
        raise typer.BadParameter("a database's name is 1 to 48 of a-z, 0-9 and -")
    return name


def _backup(reference: str) -> str:
    if reference != "latest" and not BACKUP_ID.match(reference):
        example = f"20261120T030000Z-{BACKUP_TYPES[1]}-1f09ab"
        raise typer.BadParameter(f"a backup is `latest` or an id such as {example}")
    return reference


def kms_key(arn: str | None) -> str | None:
    """The ARN of a KMS key, as it was given.

    Raises
    ------
    typer.BadParameter
    """
    if arn is not None and not re.match(KMS_KEY, arn):
        raise typer.BadParameter("a key is named arn:aws:kms:REGION:ACCOUNT:key/ID; an alias may change")
    return arn


Database = Annotated[
    str,
    typer.Argument(
        metavar="NAME", callback=database_name, help="Name under which the database is registered."
    ),
]
AnyDatabase = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", callback=database_name, help="One database; without it, all of them."),
]
Backup = Annotated[
    str,
    typer.Argument(
        metavar="ID|latest",
        callback=_backup,
        help="A backup's id, or `latest`: the newest that isn't a safety backup.",
    ),
]
StackName = Annotated[
    str | None,
    typer.Option(
        "--stack", envvar="COFFRE_STACK", metavar="NAME", help="A deployed stack; default: the local cloud."
    ),
]
Region = Annotated[
    str | None,
    typer.Option("--region", metavar="REGION", help="The deployed stack's region; default: AWS's own."),
]
Source = Literal["vault", "copy"]
From = Annotated[
    Source,
    typer.Option("--from", help="What is read: the vault, or its copy in the second vault."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end and show the result.")]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page, with pictures.")]
