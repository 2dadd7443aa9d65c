"""Numbers for people, and text that can't do harm."""

from __future__ import annotations

import io
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from coffre.catalogue.entries import BackupEntry, RestoreEntry, RestoreKind
from coffre.results import Finding
from coffre_cli import show_backups, show_restores, tables
from coffre_cli.output import clean, console, count, duration, emit, moment, several, size


def test_numbers_are_told_as_people_read_them() -> None:
    assert count(1234567) == "1,234,567"
    assert (several(1, "chunk"), several(0, "chunk")) == ("1 chunk", "0 chunks")
    assert several(1_234, "chunk") == "1,234 chunks"
    assert size(1_234_567) == "1.2 MB"
    assert duration(3.42) == "3.4 s"
    assert duration(3723) == "1:02:03"
    assert moment("2026-11-20T03:00:01.000000Z") == "2026-11-20 03:00:01 UTC"
    assert (count(None), size(None), duration(None), moment(None)) == ("", "", "", "")


def test_a_name_from_a_database_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert clean("a\x1b[2Jb\x9b") == "a\\x1b[2Jb\\x9b"
    evil = Finding(level="warn", code="x", object="\x1b]0;title\x07", message="[red]not markup[/red]")
    console().print(tables.findings([evil]))
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "[red]not markup[/red]" in printed


def test_no_color_is_respected(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    emit({}, False, tables.word("failed"))
    assert "\x1b[31m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    emit({}, False, tables.word("failed"))
    assert "\x1b[31m" not in capsys.readouterr().out


def test_tables_in_a_pipe_are_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    emit({}, False, tables.table("a", "b", rows=[("x" * 120, "y" * 60)]))
    assert "x" * 120 in capsys.readouterr().out


IDS = ("20261120T030000Z-monthly-1f09ab", "20261121T030000Z-daily-2f09ab")
ENTRIES = [
    BackupEntry(
        "shop",
        IDS[0],
        "monthly",
        "completed",
        completed="2026-11-20T03:00:00.000000Z",
        rows=1_039_085,
        bytes=123_456_789,
        new_bytes=1_234_567,
        verdict="inconclusive",
        reason="before the orders of all branches move to the new schema",
        copy="incomplete",
    ),
    BackupEntry("shop", IDS[1], "daily", "in_progress"),
]
RESTORES = [
    RestoreEntry(
        "shop",
        "2026-11-20T03:00:00.000000Z",
        kind,
        "failed",
        identifier,
        target_database="a_database_with_a_long_name",
        kept_as="a_database_with_a_long_name_before_20261120T030000Z",
        bytes=123_456_789,
        milliseconds=90_000,
    )
    for kind, identifier in zip(get_args(RestoreKind), IDS * 3, strict=True)
]


def on_a_terminal(renderable: RenderableType, width: int) -> str:
    """What a terminal of so many columns shows."""
    out = Console(file=io.StringIO(), width=width)
    out.print(renderable)
    return str(out.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 81, 100, 120, 200])
def test_an_id_and_its_status_stand_in_one_line_whatever_the_terminal(width: int) -> None:
    shown = on_a_terminal(show_backups.backups(ENTRIES), width)
    assert max(map(len, shown.splitlines())) <= width
    first, second = (next(line for line in shown.splitlines() if one in line) for one in IDS)
    assert {"completed", "inconclusive", "incomplete"} <= set(first.split())
    assert "in_progress" in second
    lines = on_a_terminal(show_restores.history(RESTORES), width).splitlines()
    for one in RESTORES:
        assert any({one.kind, one.status, one.backup_id} <= set(line.split()) for line in lines)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_why_a_restore_failed_and_what_it_replaced_is_told_on_every_terminal(width: int) -> None:
    time, backup = "2026-11-20T03:00:00.000000Z", IDS[1]
    failed = RestoreEntry("shop", time, "new", "failed", backup, "db", "shop_new", error_code="disk-full")
    swap = RestoreEntry("shop", time, "swap", "completed", backup, "db", "shop", kept_as="shop_before_x")
    shown = on_a_terminal(show_restores.history([failed, swap]), width)
    assert "disk-full" in shown
    assert "shop_before_x" in "".join(shown.split())


def test_what_has_no_room_is_named() -> None:
    assert "no room for: completed; new; note" in on_a_terminal(show_backups.backups(ENTRIES), 80)
    assert "no room" not in on_a_terminal(show_backups.backups(ENTRIES), 200)


@given(
    st.lists(st.tuples(st.text("ab ", max_size=40), st.text("c", max_size=30), st.text("d ", max_size=90))),
    st.integers(12, 200),
)
def test_a_table_is_never_wider_than_its_terminal_and_cuts_nothing(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    made = tables.table("a", "c", "d", rows=rows, whole=("c",), gives_way=("d",))
    shown = on_a_terminal(made, width)
    assert max(map(len, shown.splitlines()), default=0) <= width
    told = shown.partition("no room")[0]
    assert told.count("c") == 1 + sum(row[1].count("c") for row in rows)
