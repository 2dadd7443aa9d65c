"""`coffre databases`: what is backed up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from coffre_cli.errors import UsageError
from coffre_cli.options import Database, Json, Region, Runs, StackName, kms_key
from coffre_cli.output import emit, note
from coffre_cli.stack import find_stack

app = typer.Typer(help="The registered databases.")

Prove = Literal["every", "daily", "never"]


@app.command()
def add(
    name: Database,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="postgresql://user@host/database; `-`: from standard input, or asked for, out of `ps`.",
        ),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            metavar="ARN",
            help="A secret that exists; beside --url it gives user and password only, as RDS's own does.",
        ),
    ] = None,
    replica: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET",
            help="A secret with the URL of a read replica: backups read it, not the primary.",
        ),
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="The database's own name, where the secret doesn't say it.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CA bundle (PEM) that signed the server.")
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="A schedule that backs it up: hourly, daily, weekly, monthly; repeat it. Default: all.",
        ),
    ] = None,
    retention: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TIER=N",
            help="How many to keep (7), or for how many days (30d): hourly, daily, weekly, monthly, yearly, "
            "keep_last or cap; repeat it.",
        ),
    ] = None,
    rpo_hours: Annotated[float | None, typer.Option(help="How old the newest backup may be.")] = None,
    rto_minutes: Annotated[float | None, typer.Option(help="How long a restore may take.")] = None,
    scratch: Annotated[
        str | None,
        typer.Option(
            metavar="URL|SECRET",
            help="A server for scheduled drills and load tests, or a secret that names one.",
        ),
    ] = None,
    drill_exceptions: Annotated[
        bool,
        typer.Option(
            "--drill-exceptions", help="Let drills go on without what can't be restored, and name it."
        ),
    ] = False,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'URL [STATUS [SECONDS]]'",
            help="A URL of the application, what it answers (200), and how quickly (5); repeat it.",
        ),
    ] = None,
    availability: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            help="How many answers must be right while `coffre loadtest` runs; default: 100, all.",
        ),
    ] = None,
    critical_table: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCHEMA.TABLE",
            help="A table that `health` must find and a sample restores first; without a schema, one of "
            "`public`; repeat it.",
        ),
    ] = None,
    waiters: Annotated[
        int | None,
        typer.Option(
            min=0, max=3600, help="Seconds that sessions may wait behind a backup's locks; 0: no limit."
        ),
    ] = None,
    prove: Annotated[
        Prove | None, typer.Option(help="Which backups are proven by a restore; default: every.")
    ] = None,
    runs: Annotated[
        Runs | None,
        typer.Option(help="Where its backups run; default: auto, in one function if it is large enough."),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Workers of a backup, or of a restore, on the state machine."),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=N",
            help="What a backup on the state machine must not ask too much of: active_sessions, "
            "replica_lag_seconds or snapshot_minutes; repeat it.",
        ),
    ] = None,
    stall_minutes: Annotated[
        int | None,
        typer.Option(min=1, max=240, help="When a backup on the state machine that gets no further fails."),
    ] = None,
    seal_key: Annotated[
        str | None,
        typer.Option(
            metavar="ARN",
            callback=kms_key,
            help="Seal its backups with this KMS key, which the stack's parameter SealKeys names.",
        ),
    ] = None,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Register a database.

    Its credentials go into Secrets Manager, what you decide into SSM.
    """
    from coffre_cli import registering
    from coffre_cli import secret as secrets

    if url is None and secret is None:
        raise UsageError("give --url, or --secret, or both")
    if url is None and ca is not None:
        raise UsageError("--ca goes with --url; a secret holds its own `ca`")
    if url is not None and database is not None:
        raise UsageError("--database goes with --secret; a URL names its database")
    target = secrets.read_target(url, ca) if url is not None else None
    server = secrets.read_target(scratch, None) if scratch is not None and "://" in scratch else None
    found = find_stack(stack, region)
    options = {
        "credentials": secret if url is not None else None,
        "replica": replica,
        "database": database,
        "types": types or None,
        "retention": registering.read_retention(retention or []) or None,
        "rpo_hours": rpo_hours,
        "rto_minutes": rto_minutes,
        "scratch": scratch if server is None else secrets.scratch_secret(found, name),
        "drill_exceptions": "accept" if drill_exceptions else None,
        "endpoints": registering.read_endpoints(endpoint or []) or None,
        "availability_percent": availability,
        "critical_tables": critical_table or None,
        "prove": prove,
        "runs": runs,
        "concurrency": concurrency,
        "limits": registering.read_limits(limit or []) or None,
        "stall_minutes": stall_minutes,
        "seal_key": seal_key,
    }
    decided: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    if waiters is not None:
        decided["waiters"] = waiters or None
    own = secrets.database_secret(found, name)
    entry = registering.build(name, own if url is not None or secret is None else secret, decided)
    written = {own: target, secrets.scratch_secret(found, name): server}
    registering.register(
        found, name, entry, {secret: where for secret, where in written.items() if where is not None}
    )
    document = {"name": name, **entry.model_dump(mode="json")}
    emit(document, as_json, f"{name} is registered; try it with `coffre databases check {name}`")


@app.command("list")
def list_(stack: StackName = None, region: Region = None, as_json: Json = False) -> None:
    """List the registered databases; never their passwords.

    The exit code is 1 if a registration isn't valid.
    """
    from coffre_cli import show_databases

    found = find_stack(stack, region).registry().all()
    entries = [{"name": name, **entry.model_dump(mode="json")} for name, entry in found.valid.items()]
    invalid = {name: str(error) for name, error in found.invalid.items()}
    emit({"databases": entries, "invalid": invalid}, as_json, *show_databases.databases(found))
    if invalid:
        raise typer.Exit(1)


@app.command()
def check(name: Database, stack: StackName = None, region: Region = None, as_json: Json = False) -> None:
    """Connect as a backup would, without taking one.

    The exit code is 1 if something speaks against a backup.
    """
    from coffre.ids import stamp, utc_now
    from coffre.results import BackupResult
    from coffre_cli import invoke, tables
    from coffre_cli.progress import spinner

    found = find_stack(stack, region)
    event = {"type": "manual", "scheduled_time": stamp(utc_now()), "database": name, "preflight_only": True}
    with spinner(f"checking {name}"):
        result = BackupResult.model_validate(invoke.call(found, "backup", event))
    refused = any(finding.level == "refuse" for finding in result.findings)
    document = {
        "database": name,
        "ready": not refused,
        "findings": [finding.model_dump(mode="json") for finding in result.findings],
    }
    verdict = (
        f"{name} can't be backed up as it is"
        if refused
        else f"{name} is ready: `coffre backup {name} --wait`"
    )
    emit(document, as_json, *([tables.findings(result.findings)] if result.findings else []), verdict)
    if refused:
        raise typer.Exit(1)


@app.command()
def checks(
    name: Database,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON with the new checks; `[]` in it removes them all."),
    ] = None,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Show or replace the checks that each proof runs in the restored copy.

    What doesn't fit into the registration is put into the vault.
    """
    from coffre.databases.checks import parse_checks, read_checks, with_checks
    from coffre_cli import registering, show_databases

    found = find_stack(stack, region)
    entry = found.registry().get(name)
    if file is not None:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
            raise UsageError(f"{file} can't be read: {why}", "Name another file.") from error
        entry = with_checks(entry, parse_checks(text, where=str(file)), found.store(), name=name)
        registering.replace_registration(found, name, entry)
    kept = read_checks(entry, found.store(), name=name)
    document = {"name": name, "checks": [check.model_dump(mode="json") for check in kept]}
    emit(document, as_json, show_databases.checks(kept))


@app.command()
def seal(
    name: Database,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="ARN", callback=kms_key, help="The KMS key for new backups; the old ones keep theirs."
        ),
    ] = None,
    renew: Annotated[
        bool,
        typer.Option("--renew", help="Seal new backups with a new data key."),
    ] = False,
    off: Annotated[bool, typer.Option("--off", help="Seal new backups no more.")] = False,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Show or change the KMS key that backups are sealed with.

    With another key the next backup stores all rows anew, and so does the first one after --renew: who got
    hold of the old data key reads none that is taken later.  The stack's parameter SealKeys must name it.
    """
    from coffre.ids import utc_now
    from coffre_cli import registering, show_databases

    if (key is not None) + renew + off > 1:
        raise UsageError("give one of --key, --renew and --off")
    found = find_stack(stack, region)
    entry = found.registry().get(name)
    if renew and entry.seal_key is None:
        raise UsageError(f"new backups of {name} are not sealed: there is no key to renew")
    if key is not None or renew or off:
        changed = {"seal_since": utc_now()} if renew else {"seal_key": key}
        entry = registering.build(name, entry.secret, entry.model_dump() | changed)
        registering.replace_registration(found, name, entry)
    document = entry.model_dump(mode="json", include={"seal_key", "seal_since"})
    emit({"name": name, **document}, as_json, show_databases.seal(name, entry))


@app.command()
def remove(name: Database, stack: StackName = None, region: Region = None, as_json: Json = False) -> None:
    """Forget a database and its credentials.

    Its backups stay in the vault.
    """
    from coffre_cli import registering

    registering.unregister(find_stack(stack, region), name)
    emit({"name": name, "removed": True}, as_json, f"{name} is no longer registered")
    note("its backups stay in the vault; nothing deletes them until it is registered again")
