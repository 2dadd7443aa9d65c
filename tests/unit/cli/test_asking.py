"""Whoever is at the keyboard is asked, and no password is shown while it is typed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre_cli import asking
from tests.unit.cli.conftest import World
from tests.unit.cli.test_restore import URL, actions, restoring

__all__ = ["restoring"]


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A controlling terminal; what is written to it has been typed."""
    master, slave = os.openpty()
    monkeypatch.setattr(asking, "TERMINAL", Path(os.ttyname(slave)))
    yield master
    os.close(master)
    os.close(slave)


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Standard input is a file with the URL."""
    (tmp_path / "url").write_text(f"{URL}\n")
    with (tmp_path / "url").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        yield


@pytest.mark.usefixtures("piped")
@pytest.mark.parametrize(("typed", "asked"), [(b"y\n", ["plan", "run"]), (b"n\n", ["plan"])])
def test_a_url_on_standard_input_leaves_the_terminal_to_confirm_at(
    restoring: World, keyboard: int, typed: bytes, asked: list[str]
) -> None:
    os.write(keyboard, typed)
    outcome = restoring.run("restore", "shop", "latest", "--to", "-", "--wait")
    assert actions(restoring) == asked
    assert outcome.code == (0 if "run" in asked else 2)
    assert "Restore? [y/N]" in outcome.err


@pytest.mark.usefixtures("piped")
@pytest.mark.parametrize("to", ["-", URL])
def test_without_a_terminal_nobody_is_asked_and_nothing_happens(
    restoring: World, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    monkeypatch.setattr(asking, "TERMINAL", Path("/nowhere/tty"))
    outcome = restoring.run("restore", "shop", "latest", "--to", to, "--wait")
    assert (outcome.code, "[not-confirmed]" in outcome.err) == (2, True)
    assert restoring.functions.calls == []


@pytest.mark.usefixtures("piped", "keyboard")
def test_who_pipes_something_else_in_must_say_yes(restoring: World) -> None:
    outcome = restoring.run("restore", "shop", "latest", "--to", URL, "--wait")
    assert (outcome.code, "[not-confirmed]" in outcome.err) == (2, True)


def test_at_a_terminal_the_url_is_asked_for_and_not_shown() -> None:
    code = "from coffre_cli.secret import read_target; print(read_target('-', None).password)"
    master, slave = os.openpty()
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=slave, stderr=slave, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        os.close(slave)
        shown = b""
        while b"URL:" not in shown:
            shown += os.read(master, 1000)
        os.write(master, f"{URL}\n".encode())
        assert process.stdout is not None
        assert process.stdout.read() == b"hidden\n"
        shown += os.read(master, 1000)
    os.close(master)
    assert b"hidden" not in shown


def test_a_closed_standard_input_is_told(restoring: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    outcome = restoring.run("restore", "shop", "latest", "--to", "-", "--yes", "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "bad-usage")
    assert restoring.run("restore", "shop", "latest", "--to", URL, "--json").code == 2
