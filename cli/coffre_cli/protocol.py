"""Writing the protocol of a drill that was started here."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coffre_cli.files import write
from coffre_cli.stack import Stack

if TYPE_CHECKING:
    from coffre.databases.registration import Registration

DAYS = 90
_KEPT = ("backup_id", "root_hash", "tables", "rows", "bytes", "seconds", "phases")


def write_protocol(
    file: Path,
    stack: Stack,
    registration: Registration,
    name: str,
    answer: dict[str, Any],
    *,
    started: datetime,
    by: str,
) -> None:
    """Fill the template in.

    Parameters
    ----------
    answer:
        What the drill answered: `coffre.results.DrillResult`, the `coffre.results.VerifyResult` of a proof,
        or an error's parts.
    started:
        When it was asked for.
    by:
        Who carries it out; empty: the command.
    """
    from coffre.catalogue.objectives import report
    from coffre.events.base import parse
    from coffre.events.report import ExerciseEvent
    from coffre.ids import stamp, utc_now
    from coffre.report.protocol import Protocol, as_html, as_markdown

    now = utc_now()
    times = {"started": stamp(started), "completed": stamp(now)}
    known = {
        key: value for key, value in (_proof(answer) if "verdict" in answer else answer).items() if value
    }
    exercise = parse(
        ExerciseEvent, {**times, **known, "database": name, "stack": stack.name, "exercise": True}
    )
    met = report(name, registration, stack.catalogue(), days=DAYS, now=now)
    protocol = Protocol(exercise, met, by or "the command `coffre drill`", now)
    text = as_html(protocol) if file.suffix.lower() in (".html", ".htm") else as_markdown(protocol)
    write(file, text)


def _proof(answer: dict[str, Any]) -> dict[str, Any]:
    """A proof's answer in the words of a drill: only one that passed has compared everything."""
    verdict = answer["verdict"]
    status = {"proven": "completed", "failed": "failed"}.get(verdict, "inconclusive")
    same = {key: answer[key] for key in _KEPT}
    return {
        **same,
        "server": "the embedded server of a proof",
        "status": status,
        "digests_equal": status == "completed",
        "findings": answer["reasons"],
    }
