"""The protocol of an exercise: the template, filled in with what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from coffre.events.report import ExerciseEvent
from coffre.ids import stamp
from coffre.report.markup import Markup, badge, fill, markup, page
from coffre.report.markup import table as html_table
from coffre.report.text import duration, moment, size
from coffre.results import Finding, Met, ObjectivesReport


@dataclass(frozen=True)
class Protocol:
    """What a protocol is made of.

    Attributes
    ----------
    by:
        Who or what started the exercise.
    """

    exercise: ExerciseEvent
    objectives: ObjectivesReport
    by: str
    written: datetime


Tone = Literal["good", "fair", "bad"]
TONES: dict[Met, Tone] = {"met": "good", "missed": "bad", "inconclusive": "fair"}
_SIGNS = str.maketrans(
    {sign: f"\\{sign}" for sign in "\\`*_[]#"} | {sign: f"&#{ord(sign)};" for sign in "&<>|"}
)
Table = Callable[[Sequence[str], Iterable[Sequence[object]]], str]


def as_markdown(protocol: Protocol) -> str:
    """The protocol as Markdown."""
    values = {name: _escaped(value) for name, value in _facts(protocol).items()}
    return fill("protocol.md", **values, **_parts(protocol, _markdown_table, _escaped))


def as_html(protocol: Protocol) -> str:
    """The protocol as a page of its own."""
    values: dict[str, str] = {name: markup(value) for name, value in _facts(protocol).items()}
    values["result"] = badge(*_result(protocol))
    body = fill("protocol.html", **values, **_parts(protocol, html_table, markup))
    return page(f"Exercise: {protocol.exercise.database}", Markup(body))


def _result(protocol: Protocol) -> tuple[str, Tone]:
    """What came of it, in words and as a colour: nothing that wasn't shown counts as shown."""
    one, verdict = protocol.exercise, protocol.objectives.verdict
    if one.status != "completed":
        return one.status, "bad" if one.status == "failed" else "fair"
    if not one.digests_equal:
        return "restored, not shown to be equal to the backup", "bad"
    return f"restored and equal, objectives {verdict}", TONES[verdict]


def _facts(protocol: Protocol) -> dict[str, str]:
    one = protocol.exercise
    done = one.status == "completed"
    return {
        "result": _result(protocol)[0],
        "stack": one.stack,
        "database": one.database,
        "by": protocol.by,
        "started": moment(stamp(one.started)),
        "completed": moment(stamp(one.completed)),
        "server": one.server or "unknown",
        "backup_id": one.backup_id,
        "root_hash": one.root_hash or "unknown",
        "content": _content(one) if done else "nothing",
        "written": moment(stamp(protocol.written)),
    }


def _content(one: ExerciseEvent) -> str:
    """What was restored; of a sealed database only its size is known here."""
    numbers = f"{one.tables:,} tables, {one.rows:,} rows, " if one.tables else ""
    return numbers + size(one.bytes)


def _parts(protocol: Protocol, table: Table, plain: Callable[[object], str]) -> dict[str, str]:
    one, met = protocol.exercise, protocol.objectives
    steps = [(name.replace("_", " "), duration(seconds)) for name, seconds in one.phases.items()]
    steps.append(("all", duration(one.seconds or (one.completed - one.started).total_seconds())))
    rto = duration(met.rto_minutes * 60) if met.rto_minutes is not None else "not set"
    objectives = [
        ("RPO", duration(met.rpo_hours * 3600), duration(met.proven_exposure_seconds), _met(met.rpo_met)),
        ("RTO", rto, duration(met.restore_seconds), _met(met.rto_met)),
    ]
    findings = [Finding.model_validate(each) for each in one.findings]
    if one.code:
        fault = {"code": one.code, "message": one.message, "advice": one.advice}
        findings.insert(0, Finding(level="refuse", object=one.backup_id, **fault))
    compared = "equal to the backup" if one.digests_equal else "not shown to be equal to the backup"
    steps.append(("content compared", compared))
    return {
        "steps": table(("step", "time"), steps),
        "objectives": table(("objective", "target", "measured", "met"), objectives),
        "exceptions": _findings([Finding.model_validate(each) for each in one.exceptions], table, plain),
        "findings": _findings(findings, table, plain),
        "follow_ups": _follow_ups(protocol, findings, table, plain),
    }


def _findings(findings: Sequence[Finding], table: Table, plain: Callable[[object], str]) -> str:
    if not findings:
        return plain("None.")
    rows = [(one.level, one.code, one.object, one.message) for one in findings]
    return table(("level", "code", "object", "what"), rows)


def _follow_ups(
    protocol: Protocol, findings: Sequence[Finding], table: Table, plain: Callable[[object], str]
) -> str:
    """What follows from the measurements; people add theirs below."""
    met = protocol.objectives
    rows = [(one.code, one.advice) for one in findings if one.advice and one.level != "info"]
    if protocol.exercise.status != "completed":
        rows.append((protocol.exercise.status, "Find the cause, and repeat the exercise."))
    if not met.rpo_met:
        rows.append(("RPO missed", "Back up more often, or find out why runs or proofs failed."))
    if met.rto_met is False:
        rows.append(("RTO missed", "Give the restore more memory, a larger target, or a longer RTO."))
    if met.rto_minutes is None:
        rows.append(("no RTO", "Decide how long a restore may take, and set rto_minutes."))
    return table(("from", "what to do"), rows) if rows else plain("None from the measurements.")


def _met(met: bool | None) -> str:
    return {True: "met", False: "missed", None: "unknown"}[met]


def _escaped(value: object) -> str:
    """Text in a cell of Markdown: no line break, no end of the cell, no markup of its own."""
    return " ".join(str(value).split()).translate(_SIGNS)


def _markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *([_escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
