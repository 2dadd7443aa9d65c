"""`coffre hold` and `release`."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from coffre_cli.options import Backup, Database, Json, Region, StackName
from coffre_cli.output import emit
from coffre_cli.stack import find_stack

_FORMS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ")


def _moment(text: str) -> datetime:
    """A date or a time in UTC.

    Raises
    ------
    typer.BadParameter
    """
    for form in _FORMS:
        with suppress(ValueError):
            return datetime.strptime(text, form).replace(tzinfo=UTC)
    raise typer.BadParameter("a date is written as 2026-11-20, or as 2026-11-20T03:00:00Z with a time")


Reason = Annotated[str, typer.Option(help="Why; kept in the vault and in the audit trail.")]


def hold(
    name: Database,
    reference: Backup,
    reason: Reason = "",
    until: Annotated[
        datetime | None,
        typer.Option(
            metavar="DATE",
            parser=_moment,
            help="When the hold ends by itself, in UTC; without it, only `coffre release` ends it.",
        ),
    ] = None,
    legal: Annotated[
        bool,
        typer.Option(
            "--legal", help="Also a legal hold of S3 on each object; needs a bucket with Object Lock."
        ),
    ] = False,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Keep a backup whatever the retention says.

    The hold is a note in the vault, so it outlives the catalogue.
    """
    event: dict[str, Any] = {"action": "hold", "reason": reason, "legal": legal}
    if until is not None:
        event["until"] = until.isoformat()
    _change(name, reference, event, stack, region, as_json)


def release(
    name: Database,
    reference: Backup,
    reason: Reason = "",
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """End all holds of a backup; the retention decides on it again."""
    _change(name, reference, {"action": "release", "reason": reason}, stack, region, as_json)


def _change(
    name: str,
    reference: str,
    event: dict[str, Any],
    stack: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    from coffre.results import HoldResult
    from coffre_cli import invoke, show_backups
    from coffre_cli.progress import spinner

    found = find_stack(stack, region)
    with spinner(f"{event['action']} of {name}"):
        answer = invoke.call(found, "rotate", {**event, "database": name, "backup_id": reference})
    emit(answer, as_json, show_backups.held(HoldResult.model_validate(answer)))
