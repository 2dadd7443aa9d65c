"""Restores on the state machine: following one, and letting one go on that failed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from coffre_cli.errors import recorded
from coffre_cli.invoke import told_if_interrupted
from coffre_cli.output import count, duration, moment, size

if TYPE_CHECKING:
    from coffre.catalogue.entries import RestoreEntry
    from coffre.catalogue.index import Catalogue
    from coffre.catalogue.ledger import Progress
    from coffre_cli.progress import Reading

POLL_SECONDS = 1.0
ENTRIES = 50


def attempt_in_progress(catalogue: Catalogue, name: str) -> str | None:
    """The attempt of a restore that goes on, on the state machine; None if there is none."""
    for run in catalogue.live_runs(name):
        attempt = run.run_id.rpartition("-")[2]
        if run.kind == "restore" and catalogue.ledger(name, attempt).read() is not None:
            return attempt
    return None


def follow(catalogue: Catalogue, name: str, attempt: str, tick: Callable[[], None]) -> dict[str, Any]:
    """Wait for a restore on the state machine; what the function would have answered.

    Raises
    ------
    CoffreError
        With which it ended.
    """
    from coffre.errors import RowsLostError, RunOfAnotherVersionError

    state = wait(catalogue, name, attempt, tick)
    if state.state == "committed":
        answer: dict[str, Any] = json.loads(state.result)
        return answer
    entry = _ended(catalogue, name, attempt)
    code, message = (entry.error_code, entry.error_message) if entry is not None else (None, None)
    begins_anew = code in (RowsLostError.code, RunOfAnotherVersionError.code)
    raise recorded(code, message, None if begins_anew else _ADVICE)


_ADVICE = "`coffre restore resume NAME` goes on where it stopped; `coffre restore list NAME` keeps the cause."


def wait(catalogue: Catalogue, name: str, attempt: str, tick: Callable[[], None]) -> Progress:
    """Wait until a restore has ended; its last state."""
    with told_if_interrupted(f"the restore of {name} goes on; `coffre status {name}` follows it"):
        while True:
            state = catalogue.ledger(name, attempt).read()
            if state is not None and state.state in ("committed", "failed"):
                return state
            tick()
            time.sleep(POLL_SECONDS)


def reader(catalogue: Catalogue, name: str, attempt: str) -> Callable[[], Reading | None]:
    """Looks how far a restore is: its rows, and then the batches of what follows them."""
    from coffre_cli.progress import Reading

    def read() -> Reading | None:
        state = catalogue.ledger(name, attempt).read()
        return Reading(state.done, state.total, state.rows) if state is not None else None

    return read


def resumable(catalogue: Catalogue, name: str) -> RestoreEntry | None:
    """The restore on the state machine that ended last, if it failed."""
    from itertools import islice

    entries = islice(catalogue.restores(name), ENTRIES)
    last = next((entry for entry in entries if entry.where == "machine"), None)
    return last if last is not None and last.status == "failed" and last.token else None


def document(catalogue: Catalogue, name: str, attempt: str | None) -> dict[str, Any] | None:
    """How far a restore is, for `coffre status`."""
    state = catalogue.ledger(name, attempt).read() if attempt is not None else None
    if state is None:
        return None
    rate = left = None
    if state.state == "open" and state.phase == "rows" and state.done:
        from coffre.ids import moment as parsed
        from coffre.ids import utc_now

        rate = state.done / max(1.0, (utc_now() - parsed(state.started)).total_seconds())
        left = round((state.total - state.done) / rate, 1)
    entry = _ended(catalogue, name, str(attempt)) if state.state == "failed" else None
    return {
        "backup_id": state.backup_id,
        "status": {"open": "in_progress", "committed": "completed"}.get(state.state, state.state),
        "phase": state.phase,
        "started": state.started,
        "heartbeat": state.moved,
        "rows": state.rows,
        "done": state.done,
        "total": state.total,
        "rate": rate,
        "seconds_left": left,
        "batches": state.batches,
        "batches_done": state.batches_done,
        "tries": state.tries,
        "error_code": entry.error_code if entry is not None else None,
        "error_message": entry.error_message if entry is not None else None,
    }


def shown(found: dict[str, Any]) -> dict[str, object]:
    """The same as lines for people."""
    from coffre_cli.tables import word

    batches = f"{count(found['batches_done'])} of {count(found['batches'])}"
    return {
        "restore": found["backup_id"],
        "its status": word(found["status"]),
        "it does": found["phase"] if found["status"] == "in_progress" else "",
        "items": batches if found["status"] == "in_progress" and found["batches"] else "",
        "rows loaded": count(found["rows"]),
        "of that": f"{size(found['done'])} of {size(found['total'])}",
        "loads": f"{size(found['rate'])}/s" if found["rate"] else "",
        "rows take": duration(found["seconds_left"]) if found["seconds_left"] is not None else "",
        "last sign": moment(found["heartbeat"]),
        "its error": found["error_message"],
    }


def _ended(catalogue: Catalogue, name: str, attempt: str) -> RestoreEntry | None:
    from itertools import islice

    entries = islice(catalogue.restores(name), ENTRIES)
    return next((entry for entry in entries if (entry.token or "").startswith(attempt)), None)
