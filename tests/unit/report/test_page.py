"""The page of a month: well-formed, of one piece, and nothing from outside becomes markup."""

from __future__ import annotations

from datetime import timedelta
from html.parser import HTMLParser

from coffre.report.charts import growth, outcome
from coffre.report.page import monthly_page
from coffre.results import Finding, MonthlyReport, ReportedDay
from tests.unit.report.conftest import NOVEMBER, World

HOSTILE = "<script>alert('x')</script> & \"more\""
VOID = {"meta"}


class Page(HTMLParser):
    """Checks that elements close in order, and keeps what there is."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def full(world: World) -> MonthlyReport:
    """A month with something of everything, and hostile words in it."""
    bad = Finding(level="refuse", code="exception-constraint", object=HOSTILE, message=HOSTILE)
    damaged = Finding(level="refuse", code="chunk-damaged", object="c", message=HOSTILE)
    for day in range(25):
        world.backup(NOVEMBER + timedelta(days=day, hours=3))
    world.backup(NOVEMBER + timedelta(days=26, hours=3), "failed", (bad, damaged))
    for day, seconds in ((2, 9.0), (9, 21.5)):
        world.restored(NOVEMBER + timedelta(days=day), seconds, exceptions=1)
    world.restored(NOVEMBER + timedelta(days=11), 1, status="failed", error_code=HOSTILE)
    found = world.report().report
    assert found is not None
    return found


def test_what_comes_from_outside_stays_text(world: World) -> None:
    page = Page(monthly_page(full(world)))
    assert "script" not in {tag for tag, _ in page.seen}
    assert page.words.count(HOSTILE) >= 4


def test_it_loads_nothing_and_runs_nothing(world: World) -> None:
    page = Page(monthly_page(full(world)))
    used = {name for _, attributes in page.seen for name in attributes}
    assert not used & {"src", "href", "srcset", "action"}
    assert not [name for name in used if name.startswith("on")]
    policies = [a["content"] for tag, a in page.seen if tag == "meta" and "http-equiv" in a]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_it_shows_days_sizes_restores_and_objectives(world: World) -> None:
    page = Page(monthly_page(full(world)))
    pictures = [attributes["aria-label"] for tag, attributes in page.seen if tag == "svg"]
    assert pictures == [
        "Backups of each day",
        "Size of the database",
        "New bytes stored",
        "Restore times by size",
    ]
    for words in ("objectives missed", "1 exception left out", "2026-11-26: no backup", "1 refuted"):
        assert words in page.words


def test_a_day_is_as_bad_as_its_worst_backup() -> None:
    assert outcome(ReportedDay(date="2026-11-01", taken=2, proven=2)) == ("good", "2 proven")
    assert outcome(ReportedDay(date="2026-11-01", taken=2, proven=1))[0] == "dim", "one isn't verified"
    assert outcome(ReportedDay(date="2026-11-01", taken=2, proven=1, inconclusive=1))[0] == "fair"
    assert outcome(ReportedDay(date="2026-11-01", taken=1, proven=1, failed=1))[0] == "bad"
    assert outcome(ReportedDay(date="2026-11-01")) == ("none", "no backup")


def test_a_database_without_rows_has_a_picture_too() -> None:
    days = [ReportedDay(date=f"2026-11-{day:02}", taken=1, bytes=0) for day in range(1, 31)]
    assert [tag for tag, _ in Page(growth(days)).seen].count("circle") == 30
