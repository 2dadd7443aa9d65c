"""Restores, drills and undos as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from coffre.report.text import phases as told_phases
from coffre_cli.output import count, duration, moment, several, size
from coffre_cli.tables import FittedTable, facts, findings_below, table, word

if TYPE_CHECKING:
    from coffre.catalogue.entries import RestoreEntry
    from coffre.results import (
        DrillResult,
        EndpointAnswer,
        Finding,
        RestorePlan,
        RestoreResult,
        UndoPlan,
        UndoResult,
    )


_PLACES = {"function": "in one function", "machine": "on the state machine"}


def plan(found: RestorePlan) -> Group:
    """What a restore will do."""
    swap = found.mode == "swap"
    safety = f"of {found.safety_backup}, first" if found.safety_backup else "none"
    summary = facts(
        {
            "restore": f"{found.database} {found.backup_id}",
            "target": found.target,
            "database": f"{found.target_database} ({_done_to(found)})",
            "new schema": found.into,
            "the one in place": f"stays as {found.kept_as}" if swap else None,
            "safety backup": safety if swap else None,
            "comes along": ", ".join(found.comes_along),
            "roles to create": None if found.into else ", ".join(found.roles_to_create) or "none",
            "roles mapped": ", ".join(f"{old} to {new}" for old, new in found.roles_mapped.items()),
            "content": _content(found),
            "time": _estimate(found),
            "runs": _runs(found),
        }
    )
    return Group(summary, *findings_below(found.findings))


def _done_to(found: RestorePlan) -> str:
    if found.mode == "tables":
        return "what is in it isn't touched"
    if found.mode == "swap":
        return "replaced"
    return "created" if found.creates_database else "empty now, filled"


def _content(found: RestorePlan | RestoreResult) -> str:
    return f"{several(found.tables, 'table')}, {several(found.rows, 'row')}, {size(found.bytes)}"


def _estimate(found: RestorePlan) -> str:
    if found.estimate_seconds is None:
        return found.estimate_basis
    return f"about {duration(found.estimate_seconds)} ({found.estimate_basis})"


def _runs(found: RestorePlan) -> str | None:
    """Where it runs and why.  Of single tables the reason is another estimate, for want of a measured one."""
    if found.mode == "tables" and found.estimate_seconds is not None:
        return f"{_PLACES[found.where]}, as single tables always do"
    return f"{_PLACES[found.where]}: {found.reason}" if found.reason else None


def restored(result: RestoreResult, known: Sequence[Finding]) -> Group:
    """A restore that ended, with the findings that aren't known from its plan."""
    new = [finding for finding in result.findings if finding not in known]
    equal = "equal to the backup" if result.digests_equal else "not compared, or not equal"
    summary = facts(
        {
            "status": word(result.status),
            "database": result.target_database,
            "schema": result.into,
            "the one before": f"stays as {result.kept_as}" if result.kept_as else None,
            "safety backup": result.safety_backup,
            "content": _content(result),
            "digests": Text(equal, style="green" if result.digests_equal else "yellow"),
            "application": application(result.endpoints),
            "time": duration(result.seconds),
            "of that": told_phases(result.phases, {}),
        }
    )
    return Group(summary, *findings_below([*result.exceptions, *new]))


def application(answers: Sequence[EndpointAnswer]) -> Text | None:
    """How many of the application's endpoints are up; None if none was asked."""
    up = sum(answer.up for answer in answers)
    style = "green" if up == len(answers) else "red"
    return Text(f"{up} of {len(answers)} endpoints are up", style=style) if answers else None


def drilled(result: DrillResult) -> Group:
    """A restore that was rehearsed, phase by phase."""
    equal = "equal to the backup" if result.digests_equal else "not equal"
    summary = facts(
        {
            "backup": result.backup_id,
            "server": result.server,
            "content": f"{several(result.rows, 'row')}, {size(result.bytes)}",
            "digests": Text(equal, style="green" if result.digests_equal else "red"),
            "time": duration(result.seconds),
            "database": f"kept as {result.kept_as}" if result.kept_as else "dropped again",
        }
    )
    told = findings_below([*result.exceptions, *result.findings])
    return Group(summary, "", phases(result.phases), *told)


def phases(times: Mapping[str, float]) -> FittedTable:
    """How long each phase took, and its share."""
    longest = max(times.values(), default=0.0)
    rows = (
        (name.replace("_", " "), duration(seconds), "█" * round(30 * seconds / longest) if longest else "")
        for name, seconds in times.items()
    )
    return table("phase", "time", "", rows=rows)


def undo_plan(found: UndoPlan) -> Table:
    """What an undo will do."""
    kept = f"stays as {found.kept_as}" if found.kept_as else "there is none"
    return facts(
        {
            "undo": found.target,
            "comes back": f"{found.comes_back}, replaced at {moment(found.replaced_at)}",
            "the one in place": kept,
            "sessions": f"{count(found.sessions)}, which are ended" if found.sessions else "none",
        }
    )


def undone(result: UndoResult) -> Group:
    """An undo that was done."""
    summary = facts(
        {
            "status": word(result.status),
            "database": f"{result.target_database}, which was {result.came_back}",
            "kept": result.kept_as,
            "application": application(result.endpoints),
            "time": duration(result.seconds),
        }
    )
    return Group(summary, *findings_below(result.findings))


def history(entries: Sequence[RestoreEntry]) -> FittedTable:
    """Restores, undos and proofs that ended, newest first; what became of each stands at its database."""
    rows = (
        (
            moment(entry.time),
            entry.kind,
            word(entry.status),
            entry.backup_id,
            "\n".join(filter(None, (entry.target_database, _became(entry)))),
            size(entry.bytes) if entry.bytes else "",
            duration(entry.milliseconds / 1000),
        )
        for entry in entries
    )
    columns = ("ended", "mode", "status", "backup", "database", "size", "time")
    return table(
        *columns,
        rows=rows,
        numbers=("size", "time"),
        whole=("mode", "status", "backup"),
        gives_way=("size", "time", "ended", "database", "mode"),
        none="no restore and no proof has ended yet",
    )


def _became(entry: RestoreEntry) -> str:
    """Why it failed, or the name under which the database that it replaced stays."""
    return f"before: {entry.kept_as}" if entry.kept_as else entry.error_code or ""
