"""Reports as people read them on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from coffre.report.text import dollars, scores
from coffre_cli.output import count, duration, moment, several, size
from coffre_cli.tables import facts, findings_below, table, word

if TYPE_CHECKING:
    from coffre.results import MonthlyReport, WrittenReport

_STATUS = {
    "written": "written into the vault now",
    "exists": "in the vault",
    "unfinished": "not written: the month isn't over",
}


def monthly(written: WrittenReport) -> Group:
    """A month's report, in short."""
    parts: list[RenderableType] = [
        facts({"report": f"{written.database} {written.month}, {_STATUS[written.status]}"})
    ]
    if written.report is not None:
        parts += _report(written.report)
    return Group(*parts)


def _report(report: MonthlyReport) -> list[RenderableType]:
    met, cost = report.objectives, report.cost
    summary = facts(
        {
            "objectives": word(report.verdict),
            "backups": f"{count(report.taken)} completed, {count(report.failed)} failed, "
            f"{count(report.rotated)} rotated away",
            "verdicts": f"{count(report.proven)} proven, {count(report.refuted)} failed, "
            f"{count(report.inconclusive)} inconclusive{_sampled(report)}, "
            f"{count(report.unverified)} not verified",
            "newest proven": report.newest_proof or "none",
            "size": f"{size(report.size_first)} to {size(report.size_last)}"
            if report.size_last is not None
            else "",
            "stored anew": f"{size(report.new_bytes)} for {size(report.copied_bytes)} of rows",
            "RPO": f"{_met(met.rpo_met)}, {_at_stake(met.proven_exposure_seconds)}",
            "RTO": f"{_met(met.rto_met)}, {duration(met.restore_seconds) or 'no restore was measured'}",
            "health": scores(report) or "no score",
            "vault": f"{size(report.vault.bytes)} in {several(report.vault.objects, 'object')}, about "
            f"{dollars(cost.dollars_per_month)} a month by list prices of {cost.as_of}",
        }
    )
    rows = (
        (moment(one.time), one.kind, word(one.status), one.backup_id, duration(one.seconds))
        for one in report.restores
        if one.kind != "proof"
    )
    columns = ("ended", "what", "status", "backup", "time")
    none = "no drill and no restore"
    restores = table(*columns, rows=rows, numbers=("time",), whole=("status", "backup"), none=none)
    found = findings_below([*report.damage, *report.exceptions])
    return [summary, "", restores, *_rehearsals(report), *found]


def _rehearsals(report: MonthlyReport) -> list[RenderableType]:
    """Upgrades that were rehearsed, where there were any."""
    if not report.rehearsals:
        return []
    rows = (
        (moment(one.time), f"{one.from_version} to {one.major}", word(one.verdict), one.backup_id)
        for one in report.rehearsals
    )
    columns = ("upgrade rehearsed", "PostgreSQL", "verdict", "backup")
    return ["", table(*columns, rows=rows, whole=columns[1:])]


def _sampled(report: MonthlyReport) -> str:
    return f" ({count(report.sampled)} by sample)" if report.sampled else ""


def _at_stake(seconds: float | None) -> str:
    return "nothing is proven" if seconds is None else f"{duration(seconds)} at stake"


def _met(met: bool | None) -> str:
    return {True: "met", False: "missed", None: "unknown"}[met]
