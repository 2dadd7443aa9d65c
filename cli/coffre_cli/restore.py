"""`coffre restore`: plan, confirmation, run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from coffre_cli.errors import NotConfirmedError
from coffre_cli.options import Backup, Database, Json, Region, StackName, Wait
from coffre_cli.output import emit, note
from coffre_cli.stack import Stack, find_stack

if TYPE_CHECKING:
    from coffre.results import RestorePlan

Roles = Literal["keep", "mine"]


def restore(
    name: Database,
    reference: Backup,
    to: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="A database that is empty or doesn't exist yet; `-` reads the URL from standard input.",
        ),
    ],
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CA bundle (PEM) that signed the target.")
    ] = None,
    roles: Annotated[
        Roles,
        typer.Option(help="keep: the source's owners and grants; mine: all belongs to the role of the URL."),
    ] = "keep",
    with_exceptions: Annotated[
        bool,
        typer.Option(
            "--with-exceptions",
            help="Leave out what can't be restored, such as constraints that rows violate, and name it.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Run the plan without asking.")] = False,
    wait: Wait = False,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Restore a backup into a new or empty database.

    First shows what will happen, and asks.

    The target's URL lies in a secret of its own for as long as the restore needs it.  With --wait it is
    deleted at the end, whatever happens; without --wait it is kept for the run, and the next `coffre restore`
    more than a day later deletes it.
    """
    from coffre_cli import secret as secrets

    if not yes and not sys.stdin.isatty():
        raise NotConfirmedError("nobody can be asked here", "Give `--yes` to run the plan without asking.")
    target = secrets.read_target(to, ca)
    found = find_stack(stack, region)
    secrets.sweep_targets(found)
    secret = secrets.new_target_secret(found)
    needed = False
    try:
        secrets.write_secret(found, secret, target)
        request = {"database": name, "target_secret": secret, "roles": roles}
        if with_exceptions:
            request["exceptions"] = "accept"
        plan = _confirmed_plan(found, {**request, "action": "plan", "backup": reference}, yes=yes)
        run = {**request, "action": "run", "backup": plan.backup_id, "token": plan.token}
        if wait:
            _run(found, run, plan, as_json)
        else:
            needed = True
            _start(found, run, as_json)
    finally:
        if not needed:
            secrets.delete_secret(found, secret)


def _confirmed_plan(stack: Stack, event: dict[str, Any], *, yes: bool) -> RestorePlan:
    """The plan, shown and agreed to.

    Raises
    ------
    NotConfirmedError
    """
    from coffre.results import RestorePlan
    from coffre_cli import invoke, show
    from coffre_cli.progress import spinner

    with spinner(f"planning the restore of {event['database']} {event['backup']}"):
        plan = RestorePlan.model_validate(invoke.call(stack, "restore", event))
    note(show.plan(plan))
    if not yes and not typer.confirm("Restore?", err=True):
        raise NotConfirmedError("the restore was not confirmed")
    return plan


def _run(stack: Stack, event: dict[str, Any], plan: RestorePlan, as_json: bool) -> None:
    from coffre.results import RestoreResult
    from coffre_cli import invoke, show
    from coffre_cli.progress import bar, run_reader

    read = run_reader(stack, plan.database, "restore", plan.backup_id)
    with bar(f"restore into {plan.target_database}", read) as tick:
        answer = invoke.call(stack, "restore", event, tick)
    emit(answer, as_json, show.restored(RestoreResult.model_validate(answer), plan.findings))


def _start(stack: Stack, event: dict[str, Any], as_json: bool) -> None:
    from coffre_cli import invoke

    invoke.start(stack, "restore", event)
    secret = event["target_secret"]
    document = {
        "database": event["database"],
        "backup_id": event["backup"],
        "status": "started",
        "target_secret": secret,
    }
    emit(
        document,
        as_json,
        f"the restore of {event['backup']} is started; its log and its event tell how it ended",
    )
    note(f"secret {secret} is kept for the run; the next `coffre restore` more than a day later deletes it")
