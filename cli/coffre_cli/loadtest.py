"""`coffre loadtest`: back up and restore, and see what that does to the application."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coffre_cli import files
from coffre_cli.errors import UsageError
from coffre_cli.options import Database, Html, Json, Region, StackName
from coffre_cli.output import clean, emit, note
from coffre_cli.stack import Stack, find_stack

if TYPE_CHECKING:
    from coffre.results import LoadTestReport, Round, SavedLoadTest
    from coffre_cli.load_rounds import Rounds
    from coffre_cli.load_watch import Watch

DAYS = 30
"""How far back the RPO is looked at."""
EXITS = {"met": 0, "missed": 1, "inconclusive": 3}
TICK_SECONDS = 0.25


def loadtest(
    name: Database,
    rounds: Annotated[
        int, typer.Option(min=1, max=100, help="How many times to back up, prove and restore.")
    ] = 1,
    interval: Annotated[
        float,
        typer.Option(
            min=0.2, max=60, help="Seconds from one question to the application and the source to the next."
        ),
    ] = 1.0,
    baseline: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds to ask them beforehand, to compare with.")
    ] = 10.0,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A scratch server to restore to; `-` reads the URL from standard input, or asks for it. "
            "Default: the registration's, or the embedded server of a proof.",
        ),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CA bundle (PEM) that signed the scratch server.")
    ] = None,
    html: Html = None,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Back up, prove and restore for real, and see what that does to the application.

    Meanwhile the application's endpoints and the source are asked, from where `health` asks them; before it,
    too, to compare with.  Then says how fast backup and restore were, whether what was restored is equal, how
    available the application was, and whether the objectives are met: the registration's RPO, RTO and
    availability.  The report is kept in the vault.

    The exit code is 0 if all objectives are met, 1 if one is missed, 3 if one isn't set or wasn't measured.
    """
    from coffre.catalogue.objectives import report as objectives
    from coffre.ids import stamp, utc_now
    from coffre.loadtest.write_up import Asked, write_up
    from coffre.report.loadtest_page import load_test_page
    from coffre_cli import secret as secrets
    from coffre_cli import show_loadtest
    from coffre_cli.load_rounds import Rounds
    from coffre_cli.load_watch import Watch, probe

    if to is None and ca is not None:
        raise UsageError("--ca is for the server that --to names")
    if html is not None:
        files.check_writable(html)
    found = find_stack(stack, region)
    registration = found.registry().get(name)
    shown = [endpoint.label for endpoint in registration.endpoints]
    probe(found, name)  # what can't be asked at all is said before anything begins
    started = utc_now()
    with secrets.held(found, to, ca) as where, Watch(partial(probe, found, name), shown, interval) as watch:
        scratch = where if to is not None or registration.scratch is not None else None
        _baseline(watch, baseline)
        done = _rounds(Rounds(found, name, watch, scratch, lambda: None), rounds)
    asked = Asked(found.name, name, registration, stamp(started), rounds, interval)
    met = objectives(name, registration, found.catalogue(), days=DAYS, now=utc_now())
    report = write_up(asked, done, met, watch.samples, watch.stages, watch.unasked, ended=stamp(utc_now()))
    saved = _save(found, report)
    if html is not None:
        files.write(html, load_test_page(report))
    document = {**report.answer(), "saved": saved.keys if saved else []}
    emit(document, as_json, show_loadtest.load_test(report, saved))
    raise typer.Exit(EXITS[report.verdict])


def _baseline(watch: Watch, seconds: float) -> None:
    """Ask for a while before anything is done."""
    from coffre_cli import show_loadtest
    from coffre_cli.progress import spinner

    ends = time.monotonic() + seconds
    with watch.during("baseline", 0), spinner("baseline") as tell:
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(TICK_SECONDS, left))
            tell(f"baseline; {show_loadtest.answers(watch.samples)}")
    note(f"baseline, {seconds:g} s; {show_loadtest.answers(watch.samples)}")


def _rounds(work: Rounds, wanted: int) -> list[Round]:
    """As many rounds as are wanted, or up to the first one that fails."""
    from coffre_cli import show_loadtest
    from coffre_cli.progress import spinner

    done: list[Round] = []
    for number in range(1, wanted + 1):
        label = f"round {number} of {wanted}"
        with spinner(label) as tell:
            work.tick = partial(_show, tell, label, work.watch)
            done.append(work.run(number, lambda stage, so_far: note(show_loadtest.stage(stage, so_far))))
        if done[-1].fault is not None:
            break
    return done


def _show(tell: Callable[[str], None], label: str, watch: Watch) -> None:
    from coffre_cli import show_loadtest

    meanwhile = [one for one in watch.samples if one.stage != "baseline"]
    tell(f"{label}, {watch.stage}; {show_loadtest.answers(meanwhile)}")


def _save(stack: Stack, report: LoadTestReport) -> SavedLoadTest | None:
    """Have the report kept in the vault.  A test isn't lost because that fails: it is shown all the same."""
    from botocore.exceptions import BotoCoreError, ClientError

    from coffre.errors import CoffreError
    from coffre.results import SavedLoadTest
    from coffre_cli import invoke

    event = {"action": "loadtest", "database": report.database, "report": report.answer()}
    try:
        return SavedLoadTest.model_validate(invoke.call(stack, "report", event))
    except (CoffreError, ClientError, BotoCoreError) as error:
        note(f"the report isn't kept in the vault: {clean(error)}")
        return None
