"""`coffre rotate`, `recheck`, `health` and `catalogue`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from coffre_cli.options import AnyDatabase, Database, From, Json, Region, StackName, database_name
from coffre_cli.output import emit
from coffre_cli.stack import find_stack

catalogue = typer.Typer(help="The index over the vault.")


def rotate(
    name: AnyDatabase = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Apply the retention.

    Says of each backup whether it stays, why, and what its end frees.  The exit code is 1 if a
    database failed.
    """
    from coffre.results import RotateResult
    from coffre_cli import invoke, show_backups
    from coffre_cli.progress import spinner

    found = find_stack(stack, region)
    with spinner("rotating"):
        answer = invoke.call(found, "rotate", {**_database(name), "dry_run": dry_run})
    result = RotateResult.model_validate(answer)
    emit(answer, as_json, show_backups.rotation(result))
    if result.failed:
        raise typer.Exit(1)


def recheck(
    name: AnyDatabase = None,
    days: Annotated[
        int, typer.Option(min=1, max=365, help="The period in which each chunk is read once; 1: all of them.")
    ] = 30,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Read the chunks again that are due.

    A schedule does it each day.  The exit code is 1 if something is damaged: backups that need it lose
    their verdict.
    """
    from coffre.results import RecheckResult
    from coffre_cli import invoke, show_backups
    from coffre_cli.progress import spinner

    found = find_stack(stack, region)
    with spinner("reading"):
        answer = invoke.call(found, "verify", {"action": "recheck", **_database(name), "days": days})
    result = RecheckResult.model_validate(answer)
    emit(answer, as_json, show_backups.rechecked(result))
    if any(finding.level == "refuse" for report in result.reports for finding in report.findings):
        raise typer.Exit(1)


def health(
    name: AnyDatabase = None, stack: StackName = None, region: Region = None, as_json: Json = False
) -> None:
    """Report on the databases, their backups and proofs.

    The exit code is 1 if a database can't be reached or has a finding of level `refuse`.
    """
    from coffre.results import HealthResult
    from coffre_cli import invoke, show_databases
    from coffre_cli.progress import spinner

    found = find_stack(stack, region)
    with spinner("examining"):
        answer = invoke.call(found, "health", _database(name))
    result = HealthResult.model_validate(answer)
    emit(answer, as_json, show_databases.health(result))
    grave = any(finding.level == "refuse" for entry in result.databases for finding in entry.reasons)
    if grave or not all(entry.reachable for entry in result.databases):
        raise typer.Exit(1)


def objectives(
    name: Database,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How far to look back.")] = 30,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Say which RPO and RTO were really met.

    By the backups and restores that there were, read from the catalogue with your own credentials.  The exit
    code is 1 if an objective wasn't met.
    """
    from coffre.catalogue.objectives import report
    from coffre.ids import utc_now
    from coffre_cli import show_databases

    found = find_stack(stack, region)
    result = report(name, found.registry().get(name), found.catalogue(), days=days, now=utc_now())
    document = {**result.answer(), "rpo_met": result.rpo_met, "rto_met": result.rto_met}
    emit(document, as_json, show_databases.objectives(result))
    if not result.rpo_met or result.rto_met is False:
        raise typer.Exit(1)


@catalogue.callback()
def _catalogue() -> None:
    """The index over the vault."""


@catalogue.command()
def rebuild(
    database: Annotated[
        str | None,
        typer.Option(metavar="NAME", callback=database_name, help="One database; default: all in the vault."),
    ] = None,
    source: From = "vault",
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Make the index again from the bucket.

    It runs here, with your own credentials, and can be repeated at any time.  With --from copy it only adds
    backups: what isn't in the copy may still be in the vault.
    """
    from coffre.catalogue.rebuild import rebuild as run
    from coffre_cli import tables
    from coffre_cli.output import count
    from coffre_cli.progress import spinner

    found = find_stack(stack, region)
    store = found.copy() if source == "copy" else found.store()
    with spinner(f"reading the {source}"):
        names = [database] if database else None
        rebuilt = run(store, found.catalogue(), names, only_add=source == "copy")
    if database and not any((rebuilt.completed, rebuilt.invalid, rebuilt.gone)):
        found.registry().get(database)  # one that was removed may have backups, but one of them it must be
    document = vars(rebuilt)
    emit(document, as_json, tables.facts({name: count(number) for name, number in document.items()}))


def _database(name: str | None) -> dict[str, Any]:
    return {"database": name} if name else {}
