"""`coffre status`, and waiting for a backup that goes on elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre_cli.errors import recorded
from coffre_cli.invoke import told_if_interrupted
from coffre_cli.options import Database, Json, Region, StackName
from coffre_cli.output import count, duration, emit, moment, size
from coffre_cli.stack import find_stack

if TYPE_CHECKING:
    from coffre.catalogue.entries import BackupEntry
    from coffre.catalogue.index import Catalogue
    from coffre.catalogue.ledger import Progress

POLL_SECONDS = 1.0
BEGIN_SECONDS = 300.0
"""How long nothing may be known of a backup that was started."""


def status(
    name: Database,
    once: Annotated[bool, typer.Option("--once", help="Only say how it is now.")] = False,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Follow the backup, or the restore on the state machine, of a database that is in progress.

    Shows batches, rows, bytes, rate and the time left until it ends; with --once or --json as it is now.
    The exit code is 1 if the backup, or the restore that was followed, failed.
    """
    from coffre_cli import restoring
    from coffre_cli.progress import backup_reader, bar
    from coffre_cli.tables import facts

    found = find_stack(stack, region)
    catalogue = found.catalogue()
    entry, attempt = next(catalogue.backups(name), None), restoring.attempt_in_progress(catalogue, name)
    if entry is None and attempt is None:
        found.registry().get(name)
        emit({"database": name, "backup_id": None, "status": None}, as_json, f"{name} has no backup yet")
        return
    if not once and not as_json:
        if entry is not None and entry.status == "in_progress":
            with bar(f"backup of {name}", backup_reader(catalogue, name, entry.backup_id)) as tick:
                _wait(catalogue, name, entry.backup_id, tick)
            entry = catalogue.backup(name, entry.backup_id) or entry
        elif attempt is not None:
            with bar(f"restore of {name}", restoring.reader(catalogue, name, attempt)) as tick:
                restoring.wait(catalogue, name, attempt, tick)
    document = _document(catalogue, entry) if entry is not None else {"database": name, "status": None}
    restore = restoring.document(catalogue, name, attempt)
    lines = _shown(document) if entry is not None else {}
    emit(
        {**document, "restore": restore},
        as_json,
        facts(lines | (restoring.shown(restore) if restore else {})),
    )
    if document["status"] == "failed" or (restore is not None and restore["status"] == "failed"):
        raise typer.Exit(1)


def follow(catalogue: Catalogue, name: str, backup_id: str, tick: Callable[[], None]) -> dict[str, Any]:
    """Wait for a backup on the state machine; what the backup function would have answered.

    Raises
    ------
    CoffreError
        With which the backup ended.
    """
    entry = _wait(catalogue, name, backup_id, tick)
    if entry.status != "completed":
        raise recorded(entry.error_code, entry.error_message)
    names = ("rows", "bytes", "stored_bytes", "new_bytes", "chunks", "new_chunks", "relations", "root_hash")
    took = _seconds(entry.started, entry.completed)
    return {"status": "completed", "seconds": took, **{name: getattr(entry, name) for name in names}}


def _wait(catalogue: Catalogue, name: str, backup_id: str, tick: Callable[[], None]) -> BackupEntry:
    from coffre.errors import FunctionFailedError

    end = time.monotonic() + BEGIN_SECONDS
    with told_if_interrupted(f"the backup of {name} goes on; `coffre status {name}` follows it"):
        while True:
            entry = catalogue.backup(name, backup_id)
            if entry is not None and entry.status != "in_progress":
                return entry
            if entry is None and time.monotonic() > end:
                raise FunctionFailedError(
                    f"the state machine began no backup {backup_id}",
                    "Look at its executions in the AWS console.",
                )
            tick()
            time.sleep(POLL_SECONDS)


def _document(catalogue: Catalogue, entry: BackupEntry) -> dict[str, Any]:
    progress, goes_on = _progress(catalogue, entry), entry.status == "in_progress"
    rate = left = None
    if goes_on and entry.done and entry.started:
        from coffre.ids import stamp, utc_now

        rate = entry.done / max(1.0, _seconds(entry.started, stamp(utc_now())))
        left = round((entry.total - entry.done) / rate, 1)
    return {
        "database": entry.database,
        "backup_id": entry.backup_id,
        "status": entry.status,
        # Of one that has ended long ago nobody knows any more where it ran.
        "runs": "machine" if progress else "function" if goes_on else None,
        "started": entry.started,
        "heartbeat": entry.heartbeat,
        "rows": entry.rows,
        "done": entry.done,
        "total": entry.total,
        "rate": rate,
        "seconds_left": left,
        "batches": progress.batches if progress else None,
        "batches_done": progress.batches_done if progress else None,
        "holder": progress.holder if progress else None,
        "error_code": entry.error_code,
        "error_message": entry.error_message,
    }


def _progress(catalogue: Catalogue, entry: BackupEntry) -> Progress | None:
    """The ledger of the attempt that works on it, or did so last; None if it isn't the state machine's."""
    lease = catalogue.last_lease(entry.database)
    progress = catalogue.ledger(entry.database, lease.holder).read() if lease else None
    return progress if progress is not None and progress.backup_id == entry.backup_id else None


def _shown(document: dict[str, Any]) -> dict[str, object]:
    from coffre_cli.tables import word

    shown: dict[str, object] = {"backup": document["backup_id"], "status": word(document["status"])}
    if document["status"] == "in_progress":
        batches = f"{count(document['batches_done'])} of {count(document['batches'])}"
        shown |= {
            "batches": batches if document["batches"] else "",
            "rows": count(document["rows"]),
            "size": f"{size(document['done'])} of {size(document['total'])}",
            "rate": f"{size(document['rate'])}/s" if document["rate"] else "",
            "time left": duration(document["seconds_left"]),
            "snapshot": f"with holder {document['holder']}" if document["holder"] else "",
            "heartbeat": moment(document["heartbeat"]),
        }
    shown["started"] = moment(document["started"])
    if document["error_code"]:
        error = recorded(document["error_code"], document["error_message"])
        shown |= {"error": f"[{document['error_code']}] {error.message}", "what to do": error.hint}
    return shown


def _seconds(started: str | None, ended: str | None) -> float:
    from coffre.ids import moment as parsed

    return round((parsed(ended) - parsed(started)).total_seconds(), 3) if started and ended else 0.0
