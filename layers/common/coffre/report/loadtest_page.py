"""A load test's report as a page for people."""

from __future__ import annotations

from collections.abc import Iterable

from coffre.report import answers, charts
from coffre.report.markup import Markup, badge, element, page, table
from coffre.report.text import duration, moment, percent, phases, size
from coffre.results import LoadTestReport, Part, Round, Watched, Work

TONES = {"met": "good", "missed": "bad", "inconclusive": "fair", "not measured": "dim", "proven": "good"}


def load_test_page(report: LoadTestReport) -> str:
    """The page: one file, which loads nothing and runs nothing."""
    title = f"Load test: {report.database}"
    return page(
        title,
        _header(title, report),
        element("div", *_tiles(report), class_="tiles"),
        _section("Objectives", _parts(report.parts)),
        *_reasons(report),
        _section("Answers meanwhile", *_pictures(report), _answers(report.watched), _note(report)),
        _section("Speed", _speed(report.rounds), *_phases(report.rounds)),
        element("footer", "Written by Coffre from what the test measured. All times are UTC."),
    )


def _header(title: str, report: LoadTestReport) -> Markup:
    rounds = f"{len(report.rounds)} of {report.rounds_asked} rounds"
    period = f"{moment(report.started)} to {moment(report.completed)}, stack {report.stack}, {rounds}"
    verdict = badge(f"objectives {report.verdict}", TONES[report.verdict])
    return element("header", element("h1", title, " ", verdict), element("p", period, class_="sub"))


def _tiles(report: LoadTestReport) -> list[Markup]:
    backups = [one.backup for one in report.rounds if one.backup is not None]
    restores = [one.restore for one in report.rounds if one.restore is not None]
    tiles = [
        element("div", element("b", _measured(part)), element("span", _words(part)), class_=_tile(part))
        for part in report.parts
    ]
    for name, work in (("backup", backups), ("restore", restores)):
        slowest = min((one.bytes_per_second or 0 for one in work), default=None)
        speed = "none" if slowest is None else f"{size(slowest)}/s"
        told = element("span", f"of rows by a {name}, the slowest")
        tiles.append(element("div", element("b", speed), told, class_="tile dim"))
    return tiles


def _tile(part: Part) -> str:
    return f"tile {TONES[part.verdict]}"


def _words(part: Part) -> str:
    return f"{part.name}: {part.verdict}; {_allowed(part)}"


def _allowed(part: Part) -> str:
    if part.allowed is None:
        return "no objective is set"
    if part.unit == "seconds":
        return f"{duration(part.allowed)} allowed"
    return f"{percent(part.allowed)} wanted"


def _measured(part: Part) -> str:
    if part.measured is None:
        return "not measured"
    return duration(part.measured) if part.unit == "seconds" else percent(part.measured)


def _section(title: str, *content: object) -> Markup:
    return element("section", element("h2", title), *content)


def _parts(parts: Iterable[Part]) -> Markup:
    rows = [(part.name, _allowed(part), _measured(part), _badge(part.verdict)) for part in parts]
    return table(("part", "objective", "measured", ""), rows)


def _badge(verdict: str) -> Markup:
    return badge(verdict, TONES.get(verdict, "bad"))


def _reasons(report: LoadTestReport) -> list[Markup]:
    if not report.reasons:
        return []
    rows = [
        (one.level, one.code, one.object, ". ".join(filter(None, (one.message, one.advice))))
        for one in report.reasons
    ]
    return [_section("Reasons", table(("level", "code", "object", "what, and what to do"), rows))]


def _pictures(report: LoadTestReport) -> list[Markup]:
    stages = [(one.stage, one.began, one.ended) for one in report.stages]
    pictures = []
    for one in report.watched:
        points = [(point.at, point.seconds, point.wrong) for point in one.points]
        pictures.append(element("p", one.subject, class_="note"))
        pictures.append(charts.answers(f"Answers of {one.subject}", points, stages))
    return pictures


def _answers(watched: Iterable[Watched]) -> Markup:
    rows = [(subject, when, *answers.cells(seen)) for subject, when, seen in answers.spans(watched, "– ")]
    return table(answers.COLUMNS, rows, numbers=answers.NUMBERS)


def _note(report: LoadTestReport) -> Markup:
    words = (
        f"Asked every {report.interval_seconds:g} s from where the health function runs. An answer that took "
        "longer than that stands for each question that could not be put meanwhile."
    )
    if report.unasked:
        words += f" {report.unasked} times the question couldn't be put, which says nothing."
    return element("p", words, class_="note")


def _speed(rounds: Iterable[Round]) -> Markup:
    rows: list[tuple[object, ...]] = []
    for one in rounds:
        if one.backup is not None:
            note = f"{size(one.backup.new_bytes)} stored anew"
            rows.append((one.number, "backup", one.backup.backup_id, *_work(one.backup), note))
        if one.proof is not None:
            words = f"{one.proof.digests:,} digests compared"
            rows.append(
                (one.number, "proof", _badge(one.proof.verdict), duration(one.proof.seconds), "", "", words)
            )
        if one.restore is not None:
            equal = "digests equal" if one.restore.digests_equal else "digests not equal"
            rows.append((one.number, "restore", one.restore.server, *_work(one.restore), equal))
        if one.fault is not None:
            rows.append((one.number, "failed", one.fault.code, "", "", "", one.fault.message))
    columns = ("round", "what", "which", "time", "bytes a second", "rows a second", "note")
    return table(columns, rows, numbers=("time", "bytes a second", "rows a second"))


def _work(work: Work) -> tuple[str, str, str]:
    rows = "" if work.rows_per_second is None else f"{work.rows_per_second:,}"
    return (duration(work.seconds), size(work.bytes_per_second), rows)


def _phases(rounds: Iterable[Round]) -> list[Markup]:
    rows = [
        (one.number, what, phases(work.phases, work.phases_bytes_per_second))
        for one in rounds
        for what, work in (("backup", one.backup), ("restore", one.restore))
        if work is not None and work.phases
    ]
    return [table(("round", "what", "phases, and bytes of rows a second"), rows)] if rows else []
