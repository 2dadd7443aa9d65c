"""Numbers for people, and text that can't do harm."""

from __future__ import annotations

import pytest

from coffre.results import Finding
from coffre_cli import tables
from coffre_cli.output import clean, console, count, duration, emit, moment, size


def test_numbers_are_told_as_people_read_them() -> None:
    assert count(1234567) == "1,234,567"
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
