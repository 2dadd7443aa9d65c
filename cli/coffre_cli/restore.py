"""`coffre restore`: plan, confirmation, run; undo and history."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from coffre_cli import asking
from coffre_cli.default import DefaultGroup
from coffre_cli.errors import NotConfirmedError, UsageError
from coffre_cli.options import Backup, Database, From, Json, Region, Runs, StackName, Wait
from coffre_cli.output import emit, note
from coffre_cli.stack import Stack, find_stack

if TYPE_CHECKING:
    from coffre.results import RestorePlan

Mode = Literal["new", "swap", "tables"]
Roles = Literal["keep", "mine"]
COUNTDOWN_SECONDS = 10

Ca = Annotated[Path | None, typer.Option(metavar="FILE", help="CA bundle (PEM) that signed the target.")]
Yes = Annotated[bool, typer.Option("--yes", help="Run the plan without asking and without a countdown.")]

app = typer.Typer(
    cls=DefaultGroup,
    help="Bring data back.  `coffre restore NAME latest ...` is short for `coffre restore run ...`.",
)


@app.callback()
def _restore() -> None:
    """Bring data back.  `coffre restore NAME latest ...` is short for `coffre restore run ...`."""


@app.command()
def run(
    name: Database,
    reference: Backup,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The target database; `-` reads the URL from standard input, or asks for it. "
            "With --mode swap or tables it may be left out: the registered database itself.",
        ),
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="new: into a database that is empty or doesn't exist, the default; "
            "swap: in the place of one, which stays under a dated name; "
            "tables: some tables into a new schema of one, the default with --table."
        ),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCHEMA.TABLE",
            help="Only this table, with what it is made of, as its name is written; repeat it.",
        ),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="SCHEMA", help="With --table: the new schema; default: restored_ and the backup's time."
        ),
    ] = None,
    no_safety: Annotated[
        bool, typer.Option("--no-safety", help="With --mode swap: don't back up first what is replaced.")
    ] = False,
    ca: Ca = None,
    roles: Annotated[
        Roles | None,
        typer.Option(
            help="keep: the source's owners and grants, the default; "
            "mine: all belongs to the role of the URL, as tables always do."
        ),
    ] = None,
    map_role: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE=TARGET",
            help="A role of the source and the existing role that takes its place; repeat it.",
        ),
    ] = None,
    with_exceptions: Annotated[
        bool,
        typer.Option(
            "--with-exceptions",
            help="Leave out what can't be restored, such as constraints that rows violate, and name it.",
        ),
    ] = False,
    source: From = "vault",
    runs: Annotated[
        Runs,
        typer.Option(
            help="Where it runs: in one function, on the state machine, or where it fits (auto); "
            "single tables run in one function only."
        ),
    ] = "auto",
    yes: Yes = False,
    wait: Wait = False,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Restore a backup: into a new or empty database, in the place of one, or some tables beside.

    First shows what will happen, and asks.  After --mode swap the application's endpoints are asked; the exit
    code is 1 if one of them is down, and the restored database stays in its place.  With --table nothing that
    is there is touched: the tables come into a schema that is made for them, and the plan says what comes
    along and what stays out.

    The target's URL lies in a secret of its own for as long as the restore needs it.  With --wait it is
    deleted at the end, unless a restore on the state machine failed and can go on; without --wait it is kept
    for the run, and the next `coffre restore` deletes it once nobody has read it for two days.
    """
    wanted = mode or ("tables" if table else "new")
    if to is None and wanted == "new":
        raise UsageError("a restore into a new database needs --to", "Give the new database's URL.")
    if no_safety and wanted != "swap":
        raise UsageError("--no-safety is for --mode swap, which replaces a database")
    more = _what(wanted, table or [], into, roles, map_role or [])
    more |= {"safety": "skip"} if no_safety else {}
    more |= {"exceptions": "accept"} if with_exceptions else {}
    more |= {"source": source} if source != "vault" else {}
    if table and runs == "machine":
        raise UsageError("--runs machine is for whole databases: single tables come back in one function")
    more |= {"runs": runs} if runs != "auto" else {}
    if not yes:
        asking.refuse_if_nobody_can_be_asked(input_is_used=to == "-")
    found = find_stack(stack, region)
    started: list[str] = []
    with _target(found, to, ca, started) as target:
        request = {"database": name, "mode": wanted, **target, **more}
        plan = _confirmed_plan(found, {**request, "action": "plan", "backup": reference}, yes=yes)
        event = {**request, "action": "run", "backup": plan.backup_id, "token": plan.token}
        if wait:
            _run(found, event, plan, as_json, started)
        else:
            started.append(plan.backup_id)
            _start(found, event, as_json)


@app.command()
def undo(
    name: Database,
    to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The database that was replaced; default: the registered one."),
    ] = None,
    ca: Ca = None,
    yes: Yes = False,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Put back the database that a restore with --mode swap replaced last.

    The restored one stays, too, under a dated name.  Refuses if another database bears the name by now.  The
    exit code is 1 if an endpoint of the application is down afterwards.
    """
    from coffre.results import UndoPlan, UndoResult
    from coffre_cli import invoke, show_restores
    from coffre_cli.progress import spinner

    if not yes:
        asking.refuse_if_nobody_can_be_asked(input_is_used=to == "-")
    found = find_stack(stack, region)
    with _target(found, to, ca, []) as target:
        request = {"database": name, "mode": "undo", **target}
        with spinner("looking for what was replaced"):
            plan = UndoPlan.model_validate(invoke.call(found, "restore", {**request, "action": "plan"}))
        note(show_restores.undo_plan(plan), "")
        _confirm("Undo?", f"{plan.target} is replaced by {plan.comes_back}", yes=yes)
        with spinner("undoing"):
            answer = invoke.call(found, "restore", {**request, "action": "run", "token": plan.token})
    undone = UndoResult.model_validate(answer)
    emit(answer, as_json, show_restores.undone(undone))
    raise typer.Exit(int(undone.status == "application-down"))


@app.command()
def resume(
    name: Database,
    to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The same target again, where the secret of then is gone."),
    ] = None,
    ca: Ca = None,
    wait: Wait = False,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Let the restore on the state machine go on that failed or was stopped last.

    What is loaded, compared and built already isn't done again.
    """
    from coffre.errors import NothingToResumeError
    from coffre.results import RestoreResult
    from coffre_cli import invoke, restoring, show_restores
    from coffre_cli.progress import bar

    found = find_stack(stack, region)
    catalogue = found.catalogue()
    entry = restoring.resumable(catalogue, name)
    if entry is None:
        found.registry().get(name)
        raise NothingToResumeError(
            f"the last restore of {name} on the state machine didn't fail, or there was none"
        )
    started: list[str] = []
    with _target(found, to, ca, started) as target:
        event = {"action": "resume", "database": name, "token": entry.token, **target}
        answer = invoke.call(found, "restore", event)
        started.append(entry.backup_id)
        if not wait:
            told = f"the restore of {entry.backup_id} goes on; `coffre status {name}` follows it"
            emit(answer, as_json, told)
            return
        attempt = str(entry.token)[:12]
        with bar(f"restore of {name}", restoring.reader(catalogue, name, attempt)) as tick:
            answer = restoring.follow(catalogue, name, attempt, tick)
        started.clear()
    restored = RestoreResult.model_validate(answer)
    emit(answer, as_json, show_restores.restored(restored, []))
    raise typer.Exit(int(restored.status == "application-down"))


@app.command("list")
def history(
    name: Database,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, from the newest.")] = 20,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """List a database's restores, undos and proofs, and how long each took."""
    from itertools import islice

    from coffre_cli import show_restores

    found = find_stack(stack, region)
    entries = list(islice(found.catalogue().restores(name), limit))
    if not entries:
        found.registry().get(name)
    emit([vars(entry) for entry in entries], as_json, show_restores.history(entries))


@contextmanager
def _target(stack: Stack, to: str | None, ca: Path | None, started: list[str]) -> Iterator[dict[str, str]]:
    """A secret with the target's URL, as a part of the event; without a URL none is needed.

    Parameters
    ----------
    started:
        If something is in it at the end, a run that nobody waits for still needs the secret.
    """
    from coffre_cli import secret as secrets

    if to is None:
        if ca is not None:
            raise UsageError("--ca is for the server that --to names")
        yield {}
        return
    target = secrets.read_target(to, ca, named=True)
    secrets.sweep_targets(stack)
    secret = secrets.new_target_secret(stack)
    try:
        secrets.write_secret(stack, secret, target)
        yield {"target_secret": secret}
    finally:
        if not started:
            secrets.delete_secret(stack, secret)


def _what(
    mode: Mode, tables: list[str], into: str | None, roles: Roles | None, map_role: list[str]
) -> dict[str, Any]:
    """The part of the event that says what comes back and whose it will be.

    Raises
    ------
    UsageError
    """
    if (mode == "tables") != bool(tables) or (into is not None and not tables):
        raise UsageError("--mode tables needs --table, and --table and --into are for that mode alone")
    if not tables:
        mapped = _role_map(map_role)
        if mapped and roles == "mine":
            raise UsageError("--map-role is for --roles keep: with mine all belongs to the role of the URL")
        return {"roles": roles or "keep", **({"role_map": mapped} if mapped else {})}
    for table in tables:
        if "." not in table:
            raise UsageError(
                f"--table {table} names no schema", f"Write it as `public.{table}`, for example."
            )
    if roles or map_role:
        raise UsageError("restored tables belong to the target's role: --roles and --map-role say otherwise")
    return {"tables": tables, **({"into": into} if into is not None else {})}


def _role_map(pairs: list[str]) -> dict[str, str]:
    """The pairs of ``SOURCE=TARGET``.

    Raises
    ------
    UsageError
    """
    found: dict[str, str] = {}
    for pair in pairs:
        old, _, new = pair.partition("=")
        if not old or not new or old in found:
            raise UsageError(f"--map-role {pair}: one SOURCE=TARGET for each role of the source")
        found[old] = new
    return found


def _confirmed_plan(stack: Stack, event: dict[str, Any], *, yes: bool) -> RestorePlan:
    """The plan, shown and agreed to.

    Raises
    ------
    NotConfirmedError
    """
    from coffre.results import RestorePlan
    from coffre_cli import invoke, show_restores
    from coffre_cli.progress import spinner

    with spinner(f"planning the restore of {event['database']} {event['backup']}"):
        plan = RestorePlan.model_validate(invoke.call(stack, "restore", event))
    note(show_restores.plan(plan), "")
    warning = f"{plan.target} is replaced; what is in it now stays in {plan.kept_as}"
    _confirm("Restore?", warning if plan.mode == "swap" else "", yes=yes)
    return plan


def _confirm(question: str, warning: str, *, yes: bool) -> None:
    """Ask; before something is replaced, warn and leave time to think better of it.

    Raises
    ------
    NotConfirmedError
    """
    if yes:
        return
    if not asking.confirm(question):
        raise NotConfirmedError("the restore was not confirmed")
    if not warning:
        return
    note(f"{warning}.  Ctrl-C stops it.")
    for left in range(COUNTDOWN_SECONDS, 0, -1):
        note(f"in {left} s")
        time.sleep(1)


def _run(stack: Stack, event: dict[str, Any], plan: RestorePlan, as_json: bool, started: list[str]) -> None:
    from coffre.results import RestoreResult
    from coffre_cli import invoke, restoring, show_restores
    from coffre_cli.progress import bar, run_reader

    read = run_reader(stack, plan.database, "restore", plan.backup_id)
    if plan.where == "machine":
        read = restoring.reader(stack.catalogue(), plan.database, plan.token[:12])
    with bar(f"restore into {plan.target_database}", read) as tick:
        answer = invoke.call(stack, "restore", event, tick)
        if answer["status"] == "started":
            started.append(plan.backup_id)  # its functions need the secret, and so does whoever resumes it
            answer = restoring.follow(stack.catalogue(), plan.database, plan.token[:12], tick)
            started.clear()
    restored = RestoreResult.model_validate(answer)
    emit(answer, as_json, show_restores.restored(restored, plan.findings))
    raise typer.Exit(int(restored.status == "application-down"))


def _start(stack: Stack, event: dict[str, Any], as_json: bool) -> None:
    from coffre_cli import invoke

    invoke.start(stack, "restore", event)
    secret = event.get("target_secret")
    document = {
        "database": event["database"],
        "backup_id": event["backup"],
        "status": "started",
        "target_secret": secret,
    }
    told = f"`coffre restore list {event['database']}` tells how it ended"
    emit(document, as_json, f"the restore of {event['backup']} is started; {told}")
    if secret is not None:
        swept = "the next `coffre restore` deletes it once nobody has read it for two days"
        note(f"secret {secret} is kept for the run; {swept}")
