"""A month's report as a page for people."""

from __future__ import annotations

from coffre.report import charts
from coffre.report.markup import Markup, badge, element, page, table
from coffre.report.text import dollars, duration, moment, scores, size
from coffre.results import MonthlyReport, ReportedRehearsal

KINDS = {"new": "restore", "swap": "restore in place", "tables": "restore of tables"}
UPGRADES = {"upgrade-ready": "good", "upgrade-blocked": "bad", "inconclusive": "fair"}
VERDICTS = {"met": ("met", "good"), "missed": ("missed", "bad"), "inconclusive": ("inconclusive", "fair")}


def monthly_page(report: MonthlyReport) -> str:
    """The page: one file, which loads nothing and runs nothing."""
    title = f"{report.database} in {report.month}"
    return page(
        title,
        _header(title, report),
        element("div", *_tiles(report), class_="tiles"),
        element("div", _calendar(report), _objectives(report), class_="pair"),
        element(
            "div",
            _section("Size of the database", charts.growth(report.days)),
            _stored(report),
            class_="pair",
        ),
        _restores(report),
        *_rehearsals(report),
        element("div", _vault(report), _health(report), class_="pair"),
        _exceptions(report),
        *_damage(report),
        _footer(report),
    )


def _header(title: str, report: MonthlyReport) -> Markup:
    period = f"{moment(report.begins)} to {moment(report.ends)}, stack {report.stack}"
    unfinished = "" if report.complete else " The month isn't over: numbers up to now."
    verdict = badge(f"objectives {VERDICTS[report.verdict][0]}", VERDICTS[report.verdict][1])
    return element(
        "header", element("h1", title, " ", verdict), element("p", period + "." + unfinished, class_="sub")
    )


def _tiles(report: MonthlyReport) -> list[Markup]:
    met = report.objectives
    failed = f"{report.failed} failed, {report.rotated} rotated away"
    sampled = f" ({report.sampled} by sample)" if report.sampled else ""
    others = (
        f"{report.refuted} refuted, {report.inconclusive} inconclusive{sampled}, "
        f"{report.unverified} not verified"
    )
    proven_tone = "bad" if report.refuted else "good" if report.proven == report.taken else "fair"
    exposed = f"at most {duration(met.proven_exposure_seconds)} at stake, of {duration(met.rpo_hours * 3600)}"
    allowed = f"of {duration(met.rto_minutes * 60)}" if met.rto_minutes is not None else "no RTO is set"
    rto_tone = {True: "good", False: "bad", None: "dim"}[met.rto_met]
    is_whole = report.scored_days >= report.scored_of
    holes = "" if is_whole else f", on {report.scored_days} of {report.scored_of} days"
    score = "none" if report.lowest_score is None else f"{report.lowest_score:.0f}"
    return [
        _tile(
            str(report.taken), f"backups; {failed}", "bad" if report.failed or not report.taken else "good"
        ),
        _tile(str(report.proven), f"proven; {others}", proven_tone if report.taken else "bad"),
        _tile("RPO met" if met.rpo_met else "RPO missed", exposed, "good" if met.rpo_met else "bad"),
        _tile(duration(met.restore_seconds), f"for a restore, {allowed}", rto_tone),
        _tile(score, f"lowest health score, of 100{holes}", _score_tone(report)),
    ]


def _tile(value: str, words: str, tone: str) -> Markup:
    return element("div", element("b", value), element("span", words), class_=f"tile {tone}")


def _score_tone(report: MonthlyReport) -> str:
    """What wasn't looked at each day is at best fair."""
    score = report.lowest_score
    if score is None:
        return "dim"
    is_good = score >= 90 and report.scored_days >= report.scored_of
    return "good" if is_good else "fair" if score >= 60 else "bad"


def _section(title: str, *content: object) -> Markup:
    return element("section", element("h2", title), *content)


def _legend(*entries: tuple[str, str]) -> Markup:
    return element(
        "div",
        *(element("span", element("i", class_=tone), words) for tone, words in entries),
        class_="legend",
    )


def _calendar(report: MonthlyReport) -> Markup:
    legend = _legend(
        ("good", "all proven"),
        ("fair", "some inconclusive"),
        ("bad", "a failure"),
        ("dim", "not verified"),
        ("none", "no backup"),
    )
    return _section("Backups by day", charts.calendar(report.days), legend)


def _objectives(report: MonthlyReport) -> Markup:
    met = report.objectives
    rto = duration(met.rto_minutes * 60) if met.rto_minutes is not None else "not set"
    rows = [
        ("RPO", duration(met.rpo_hours * 3600), duration(met.proven_exposure_seconds), _met(met.rpo_met)),
        ("RTO", rto, duration(met.restore_seconds), _met(met.rto_met)),
    ]
    types = ", ".join(f"{count} {kind}" for kind, count in sorted(report.by_type.items())) or "none"
    newest = [
        ("newest backup", report.newest_backup or "none"),
        ("newest proven", report.newest_proof or "none"),
        ("completed", types),
    ]
    note = (
        "RPO by the worst moment of the period and proven backups; by all of them "
        f"{duration(met.exposure_seconds)}. "
        f"RTO by {met.restores_measured} measured restores, as slow as the slowest."
    )
    return _section(
        "Objectives",
        table(("objective", "target", "measured", ""), rows),
        element("p", note, class_="note"),
        table(("at the end of the month", ""), newest),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _met(met: bool | None) -> Markup:
    return badge(*{True: ("met", "good"), False: ("missed", "bad"), None: ("unknown", "dim")}[met])


def _stored(report: MonthlyReport) -> Markup:
    factor = f" 1 byte in {report.copied_bytes / report.new_bytes:.1f}" if report.new_bytes else " nothing"
    words = (
        f"{size(report.copied_bytes)} of rows were backed up and {size(report.new_bytes)} stored for them:"
        f"{factor}, by deduplication and compression."
    )
    return _section("Stored anew", charts.stored(report.days), element("p", words, class_="note"))


def _restores(report: MonthlyReport) -> Markup:
    met = report.objectives
    picture = charts.RestorePicture(
        points=[
            (one.bytes, one.seconds, one.kind)
            for one in report.restores
            if one.status == "completed" and one.seconds and one.kind in ("new", "swap", "drill", "proof")
        ],
        base=met.restore_base_seconds,
        per_second=met.restore_bytes_per_second,
        size=report.size_last,
        expected=met.restore_seconds,
        limit=met.rto_minutes * 60 if met.rto_minutes is not None else None,
    )
    legend = _legend(
        ("good", "restore"), ("blue", "drill"), ("dim", "proof"), ("none", "expected for the newest backup")
    )
    shown = [one for one in report.restores if one.kind != "proof"]
    rows = [
        (
            moment(one.time),
            KINDS.get(one.kind, one.kind),
            badge(one.status, "good" if one.status == "completed" else "bad"),
            one.backup_id,
            size(one.bytes),
            duration(one.seconds),
            one.error_code or (f"{_count(one.exceptions, 'exception')} left out" if one.exceptions else ""),
        )
        for one in shown
    ]
    columns = ("ended", "what", "status", "backup", "size", "time", "note")
    listed = (
        table(columns, rows, numbers=("size", "time"))
        if rows
        else element("p", "No drill and no restore.", class_="nothing")
    )
    more = f" {report.restores_left_out} older ones aren't listed." if report.restores_left_out else ""
    note = element(
        "p", f"{report.proofs} proofs were restores, too, into a server of their own.{more}", class_="note"
    )
    return _section("Restores and drills", charts.restores(picture), legend, listed, note)


def _rehearsals(report: MonthlyReport) -> list[Markup]:
    """Upgrades that were rehearsed, where there were any."""
    if not report.rehearsals:
        return []
    rows = [
        (
            moment(one.time),
            f"{one.from_version} to {one.major}",
            badge(one.verdict, UPGRADES[one.verdict]),
            one.backup_id,
            _in_the_way(one),
            one.evidence,
        )
        for one in report.rehearsals
    ]
    columns = ("ended", "PostgreSQL", "verdict", "backup", "what was found", "kept as")
    note = element("p", "A restore on a newer major version. It counts as no proof.", class_="note")
    return [_section("Upgrades rehearsed", table(columns, rows), note)]


def _in_the_way(one: ReportedRehearsal) -> str:
    if one.first is None:
        return ""
    more = f"; and {one.findings - 1} more" if one.findings > 1 else ""
    return ": ".join(filter(None, (one.first.object, one.first.message))) + more


def _vault(report: MonthlyReport) -> Markup:
    cost = report.cost
    recheck = "never"
    if report.recheck_slices is not None and report.recheck_started:
        recheck = f"{report.recheck_slices / 256:.0%} since {report.recheck_started[:10]}"
    rows = [
        ("the vault holds", f"{size(report.vault.bytes)} in {report.vault.objects:,} objects"),
        ("growth", _growth(report)),
        ("rotation deleted", f"{_count(report.rotated, 'backup')}, which frees {size(report.freed_bytes)}"),
        ("read again", recheck),
        ("damaged", _count(len(report.damage), "backup") if report.damage else "nothing"),
        ("storage costs about", f"{dollars(cost.dollars_per_month)} a month"),
    ]
    note = (
        f"S3 Standard at the list price of {cost.region} as of {cost.as_of}, ${cost.dollars_per_gb_month} "
        "for a GB and month. Requests, functions, hidden versions and discounts aren't in it."
    )
    return _section(
        "The vault", table(("when this was written", ""), rows), element("p", note, class_="note")
    )


def _growth(report: MonthlyReport) -> str:
    before = report.vault_before
    if before is None:
        return "unknown: there is no report on the month before"
    change = report.vault.bytes - before.bytes
    return f"{'-' if change < 0 else '+'}{size(abs(change))} since {moment(before.at)}"


def _health(report: MonthlyReport) -> Markup:
    told = scores(report)
    note = "The lowest score of each day, and its mean above" + (f": {told}." if told else ".")
    return _section("Health", charts.health(report.days), element("p", note, class_="note"))


def _exceptions(report: MonthlyReport) -> Markup:
    rows = [(one.object, one.code, one.message, one.count or "") for one in report.exceptions]
    head = ("object", "code", "what", "backups")
    none = f"{_count(report.proven, 'proof')} passed, and none named an exception."
    listed = table(head, rows, numbers=("backups",)) if rows else element("p", none, class_="nothing")
    note = element("p", "What proofs of the month's backups couldn't restore.", class_="note")
    return _section("Exceptions", listed, note)


def _damage(report: MonthlyReport) -> list[Markup]:
    if not report.damage:
        return []
    rows = [(one.object, one.code, one.message, one.count or "") for one in report.damage]
    return [_section("Damage", table(("backup", "code", "what", "objects"), rows, numbers=("objects",)))]


def _footer(report: MonthlyReport) -> Markup:
    written = f"Written by Coffre at {moment(report.written)}, from what was recorded."
    return element(
        "footer", f"{written} Days and months are UTC's. A verdict is the newest one of its backup."
    )
