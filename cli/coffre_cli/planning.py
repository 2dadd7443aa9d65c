"""`coffre plan`: what a backup would do now, how long it would take, and what it would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coffre_cli.options import Database, Json, Region, StackName
from coffre_cli.output import count, duration, emit, several, size
from coffre_cli.stack import find_stack

if TYPE_CHECKING:
    from rich.console import RenderableType

    from coffre.results import BackupPlan, PlannedBatch


WHERE = {"function": "in one function", "machine": "on the state machine"}


def plan(name: Database, stack: StackName = None, region: Region = None, as_json: Json = False) -> None:
    """Show what a backup would do now.

    Its batches, the time and the requests that it takes, dollars by AWS's public prices, and what the
    snapshot costs the source.  Nothing is written.
    """
    from coffre.results import BackupPlan
    from coffre_cli import invoke
    from coffre_cli.progress import spinner

    found = find_stack(stack, region)
    with spinner(f"planning a backup of {name}"):
        answer = invoke.call(found, "backup", {"action": "plan", "database": name})
    emit(answer, as_json, *_shown(BackupPlan.model_validate(answer)))


def _shown(made: BackupPlan) -> list[RenderableType]:
    from coffre_cli.tables import facts, table

    rows = [(one.number, _what(one), size(one.bytes), duration(one.seconds)) for one in made.listed]
    more = made.batches - len(made.listed)
    held = made.snapshot
    dead = "how many dead rows that keeps is unknown"
    if held.dead_rows is not None:
        dead = f"about {several(held.dead_rows, 'dead row')} kept"
    locked = f"{several(held.tables, 'table')} locked against DDL"
    behind = f"{several(held.oldest_transactions, 'transaction')} behind already"
    return [
        facts(
            {
                "backup of": made.database,
                "runs": f"{WHERE[made.where]}: {made.reason}",
                "content": f"{several(made.relations, 'table')}, {size(made.bytes)} on disk",
                "time": f"about {duration(made.seconds)} with {several(made.workers, 'worker')}",
                "rate": f"{size(made.rate)}/s a worker, {made.measured or 'assumed: none was measured yet'}",
                "requests": ", ".join(f"{count(n)} {name}" for name, n in made.requests.items() if n),
                "cost": f"${sum(made.dollars.values()):.4f}, and ${made.storage_dollars_month:.4f} a month, "
                f"if every chunk is new (AWS's prices of {made.prices_as_of})",
                "snapshot": f"held for about {duration(held.seconds)}: {locked}, {dead}, {behind}",
            }
        ),
        table("batch", "what", "size", "time", rows=rows, numbers=("batch", "size", "time")),
        *([f"and {count(more)} more batches"] if more > 0 else []),
    ]


def _what(one: PlannedBatch) -> str:
    names = ", ".join(one.relations) + (f" and {one.more} more" if one.more else "")
    if one.pages is None:
        return names
    first, after = one.pages
    return f"{names}, pages {first} to {'the end' if after is None else after - 1}"
