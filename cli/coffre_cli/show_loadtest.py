"""Load tests as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from coffre.ids import moment
from coffre.report.answers import COLUMNS, NUMBERS, cells, spans
from coffre.report.text import milliseconds, percent, phases
from coffre_cli.output import count, duration, size
from coffre_cli.tables import FittedTable, facts, findings_below, table, word

if TYPE_CHECKING:
    from coffre.loadtest.samples import Sample
    from coffre.results import LoadTestReport, Part, Round, SavedLoadTest, Span, Stage, Watched, Work


def answers(samples: Sequence[Sample]) -> str:
    """How many answers were right so far, on one line."""
    if not samples:
        return "nothing was asked yet"
    asked = sum(one.moments for one in samples)
    right = sum(one.moments for one in samples if one.up)
    slowest = milliseconds(max(one.seconds for one in samples))
    return f"{count(right)} of {count(asked)} answers right, the slowest after {slowest}"


def stage(name: Stage, so_far: Round) -> str:
    """What came of a stage, on one line."""
    label = f"round {so_far.number}, {name}"
    if name == "backup" and so_far.backup is not None:
        return f"{label}: {_work(so_far.backup)}; {size(so_far.backup.new_bytes)} stored anew"
    if name == "proof" and so_far.proof is not None:
        return f"{label}: {so_far.proof.verdict} after {duration(so_far.proof.seconds)}"
    if name == "restore" and so_far.restore is not None:
        equal = "equal to the backup" if so_far.restore.digests_equal else "not equal to the backup"
        return f"{label}: {_work(so_far.restore)}; {equal}"
    return f"{label}: not measured"


def _work(work: Work) -> str:
    speed = f" ({size(work.bytes_per_second)}/s)" if work.bytes_per_second is not None else ""
    return f"{count(work.rows)} rows, {size(work.bytes)} in {duration(work.seconds)}{speed}"


def load_test(report: LoadTestReport, saved: SavedLoadTest | None) -> Group:
    """The whole report: verdict first, then why, then the numbers."""
    took = (moment(report.completed) - moment(report.started)).total_seconds()
    done = sum(one.fault is None for one in report.rounds)
    summary = facts(
        {
            "verdict": word(report.verdict),
            "load test": f"{report.database}, {done} of {report.rounds_asked} rounds in {duration(took)}",
            "kept as": saved.keys[-1] if saved else "it isn't kept in the vault",
        }
    )
    return Group(
        summary,
        "",
        _parts(report.parts),
        *findings_below(report.reasons),
        "",
        _answers(report.watched),
        *([f"{count(report.unasked)} times the question couldn't be put"] if report.unasked else []),
        "",
        _speed(report.rounds),
        *_phases(report.rounds),
    )


def _parts(parts: Iterable[Part]) -> FittedTable:
    rows = ((part.name, word(part.verdict), _amount(part, part.measured), _allowed(part)) for part in parts)
    return table("objective", "verdict", "measured", "allowed", rows=rows)


def _allowed(part: Part) -> str:
    if part.allowed is None:
        return "not set"
    return f"{'at most' if part.unit == 'seconds' else 'at least'} {_amount(part, part.allowed)}"


def _amount(part: Part, value: float | None) -> str:
    if value is None:
        return "not measured"
    return duration(value) if part.unit == "seconds" else percent(value)


def _answers(watched: Iterable[Watched]) -> FittedTable:
    rows = ((subject, when, *_coloured(seen)) for subject, when, seen in spans(watched, "  "))
    return table(*COLUMNS, rows=rows, numbers=NUMBERS)


def _coloured(seen: Span) -> tuple[object, ...]:
    asked, right, *more = cells(seen)
    return asked, Text(right, style="red" if seen.right < seen.asked else ""), *more


def _speed(rounds: Iterable[Round]) -> FittedTable:
    columns = ("round", "what", "time", "rows", "size", "rows/s", "size/s", "outcome")
    rows = (row for one in rounds for row in _round(one))
    return table(*columns, rows=rows, numbers=columns[2:7])


def _round(one: Round) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    if one.backup is not None:
        rows.append(
            (one.number, "backup", *_numbers(one.backup), f"{size(one.backup.new_bytes)} stored anew")
        )
    if one.proof is not None:
        outcome = Text.assemble(word(one.proof.verdict), f", {count(one.proof.digests)} digests compared")
        rows.append((one.number, "proof", duration(one.proof.seconds), *[""] * 4, outcome))
    if one.restore is not None:
        equal = "equal to the backup" if one.restore.digests_equal else "not equal to the backup"
        style = "green" if one.restore.digests_equal else "red"
        where = f"restore to {one.restore.server}"
        rows.append((one.number, where, *_numbers(one.restore), Text(equal, style=style)))
    if one.fault is not None:
        rows.append((one.number, one.fault.object, *[""] * 5, Text(one.fault.code, style="red")))
    return rows


def _numbers(work: Work) -> tuple[str, ...]:
    speed = size(work.bytes_per_second) if work.bytes_per_second is not None else ""
    return (
        duration(work.seconds),
        count(work.rows),
        size(work.bytes),
        count(work.rows_per_second),
        speed,
    )


def _phases(rounds: Iterable[Round]) -> list[RenderableType]:
    """How long each phase took, where that is known."""
    rows = [
        (one.number, what, phases(work.phases, work.phases_bytes_per_second))
        for one in rounds
        for what, work in (("backup", one.backup), ("restore", one.restore))
        if work is not None and work.phases
    ]
    return ["", table("round", "what", "phases", rows=rows)] if rows else []
