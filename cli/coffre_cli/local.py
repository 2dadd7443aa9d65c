"""`coffre local`: the project's template running on this machine."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from coffre_cli.errors import LocalCloudFailedError, UnknownScheduleNameError, UsageError
from coffre_cli.options import Json
from coffre_cli.output import emit, note
from coffre_cli.stack import state_folder

app = typer.Typer(help="The local cloud: the same template on this machine, without an AWS account.")

WATCH_SECONDS = 1.0


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Return as soon as it is ready.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the endpoints; 0 chooses a free one.")] = 0,
    as_json: Json = False,
) -> None:
    """Start the local cloud.

    It runs until Ctrl-C, or with --detach until `coffre local down`.
    """
    from coffre_cli import show_local
    from coffre_cli.progress import spinner
    from localcloud import control

    state = state_folder()
    if not detach:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        with spinner("starting the local cloud"):
            info = control.start_detached(project_template(), state, port)
        emit(info, as_json, show_local.local_cloud(info))
        if detach:
            return
        note("running until Ctrl-C")
        while control.status(state) is not None:
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        if detach:
            raise
        control.down(state)
        return
    raise LocalCloudFailedError("the local cloud ended by itself")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@app.command()
def status(as_json: Json = False) -> None:
    """Say where the local cloud is and what it holds.

    The exit code is 1 if none runs.
    """
    from coffre_cli import show_local
    from localcloud import control

    info = control.status(state_folder())
    if info is None:
        raise LocalCloudFailedError("no local cloud runs here", "Start it with `coffre local up --detach`.")
    emit(info, as_json, show_local.local_cloud(info))


@app.command()
def fire(
    schedule: Annotated[str, typer.Argument(help="A schedule's name, in full or short: `backup-daily`.")],
    as_json: Json = False,
) -> None:
    """Fire a schedule now."""
    from localcloud import control

    state = state_folder()
    info = control.status(state)
    if info is None:
        raise LocalCloudFailedError("no local cloud runs here", "Start it with `coffre local up --detach`.")
    fired = control.fire(state, _full_name(schedule, info))
    emit(fired, as_json, f"fired {fired['schedule']} for {fired['scheduled_time']}: {fired['target']}")


def _full_name(schedule: str, info: dict[str, Any]) -> str:
    short: dict[str, str] = {name.removeprefix(f"{info['stack']}-"): name for name in info["schedules"]}
    if schedule in info["schedules"]:
        return schedule
    if schedule not in short:
        raise UnknownScheduleNameError(
            f"there is no schedule {schedule!r}", f"There are: {', '.join(sorted(short))}."
        )
    return short[schedule]


@app.command()
def down(as_json: Json = False) -> None:
    """Stop the local cloud and wait until it is gone.

    What was stored in it is gone, too.
    """
    from localcloud import control

    stopped = control.down(state_folder())
    emit({"stopped": stopped}, as_json, "stopped" if stopped else "no local cloud ran here")


def project_template() -> Path:
    """The project's ``template.yaml``: beside this source, or in the current folder.

    Raises
    ------
    UsageError
        If there is none.
    """
    for folder in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (folder / "template.yaml").is_file():
            return folder / "template.yaml"
    raise UsageError("there is no template.yaml here", "Run this in a checkout of Coffre.")
