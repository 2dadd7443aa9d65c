"""`coffre drill`: rehearse a restore, and say what it means for the objectives."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from coffre_cli import files
from coffre_cli.options import Backup, Database, Json, Region, StackName
from coffre_cli.output import emit, note
from coffre_cli.stack import Stack, find_stack


def drill(
    name: Database,
    reference: Backup = "latest",
    to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A scratch server; `-` reads the URL from standard input, or asks for it. "
            "Default: the registration's, or the embedded server of a proof.",
        ),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CA bundle (PEM) that signed the scratch server.")
    ] = None,
    with_exceptions: Annotated[
        bool,
        typer.Option(
            "--with-exceptions",
            help="Go on without what can't be restored, and name it; default: as the registration says.",
        ),
    ] = False,
    protocol: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the filled-in protocol of an exercise: a page if it ends in .html, else Markdown.",
        ),
    ] = None,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who carries it out; stands in the protocol.")] = "",
    keep: Annotated[bool, typer.Option("--keep", help="Leave the restored database on the server.")] = False,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Rehearse a restore and time it.

    Restores a backup into a new database of a scratch server, compares its content, and drops it again.
    Without a scratch server the embedded one of a proof is used.  Then tells which objectives are met.  The
    exit code is 1 if the restore failed or an objective isn't met, 3 if a proof is inconclusive.
    """
    from coffre.catalogue.objectives import report
    from coffre.errors import CoffreError, describe
    from coffre.ids import utc_now
    from coffre_cli import show_databases
    from coffre_cli.errors import UsageError
    from coffre_cli.protocol import write_protocol

    if by and protocol is None:
        raise UsageError("--by is for the protocol", "Give --protocol FILE, too.")
    if protocol is not None:
        files.check_writable(protocol)
    found = find_stack(stack, region)
    registration = found.registry().get(name)
    if to is None and registration.scratch is None:
        if keep or with_exceptions or ca is not None:
            raise UsageError("--keep, --with-exceptions and --ca need a scratch server", "Name one by --to.")
        drilled = partial(_embedded, found, name, reference)
    else:
        event: dict[str, Any] = {"database": name, "backup": reference, "keep": keep}
        event |= {"exceptions": "accept"} if with_exceptions else {}
        drilled = partial(_scratch, found, event, to, ca)
    started = utc_now()
    try:
        answer, code = drilled()
    except CoffreError as error:
        if protocol is not None:
            failure = {**describe(error), "backup_id": reference, "status": "failed"}
            write_protocol(protocol, found, registration, name, failure, started=started, by=by)
        raise
    if protocol is not None:
        write_protocol(protocol, found, registration, name, answer, started=started, by=by)
    met = report(name, registration, found.catalogue(), days=30, now=utc_now())
    emit({**answer, "objectives": met.answer()}, as_json, show_databases.objectives(met))
    missed = not met.rpo_met or met.rto_met is False
    raise typer.Exit(code or int(missed))


def _scratch(
    stack: Stack, event: dict[str, Any], to: str | None, ca: Path | None
) -> tuple[dict[str, Any], int]:
    from coffre.results import DrillResult
    from coffre_cli import invoke, show_restores
    from coffre_cli import secret as secrets
    from coffre_cli.progress import spinner

    label = f"restoring {event['database']} {event['backup']} to a scratch server"
    with secrets.held(stack, to, ca) as where, spinner(label):
        answer = invoke.call(stack, "restore", {"action": "drill", **event, **where})
    note(show_restores.drilled(DrillResult.model_validate(answer)), "")
    return answer, 0


def _embedded(stack: Stack, name: str, reference: str) -> tuple[dict[str, Any], int]:
    """A proof: it restores into a server of its own, and its time is kept as a measured one."""
    from coffre.results import VerifyResult
    from coffre_cli import invoke, show_backups, show_restores
    from coffre_cli.backups import VERDICT_EXITS
    from coffre_cli.progress import spinner

    with spinner(f"proving {name} {reference}"):
        answer = invoke.call(stack, "verify", {"database": name, "backup_id": reference})
    result = VerifyResult.model_validate(answer)
    note(show_backups.verification(result), "", show_restores.phases(result.phases), "")
    return answer, VERDICT_EXITS[result.verdict]
