"""Undos and the history of restores as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from coffre_cli.output import count, duration, moment, size
from coffre_cli.show import facts, table, word

if TYPE_CHECKING:
    from coffre.catalogue.entries import RestoreEntry
    from coffre.results import UndoPlan, UndoResult


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


def undone(result: UndoResult) -> Table:
    """An undo that was done."""
    return facts(
        {
            "status": word(result.status),
            "database": f"{result.target_database}, which was {result.came_back}",
            "kept": result.kept_as,
            "time": duration(result.seconds),
        }
    )


def history(entries: Sequence[RestoreEntry]) -> Table:
    """Restores, undos and proofs that ended, newest first."""
    rows = (
        (
            moment(entry.time),
            entry.kind,
            word(entry.status),
            entry.backup_id,
            entry.target_database,
            entry.kept_as or entry.error_code or "",
            size(entry.bytes) if entry.bytes else "",
            duration(entry.milliseconds / 1000),
        )
        for entry in entries
    )
    columns = ("ended", "mode", "status", "backup", "database", "kept, or error", "size", "time")
    return table(*columns, rows=rows, numbers=("size", "time"))
