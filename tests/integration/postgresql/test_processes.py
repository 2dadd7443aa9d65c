"""Programs don't outlive who started them, with the small program that ties them and without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from coffre.databases.postgresql import processes
from coffre.databases.postgresql.processes import start_tied, wait
from tests.support.waiting import PATIENCE_SECONDS, soon

PARENT = """
import signal, sys, time
from coffre.databases.postgresql import processes
if sys.argv[1] == "twin":
    processes._tie = lambda: None
child = processes.start_tied(["/bin/sleep", "600"], signal.SIGKILL, start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def tie() -> str:
    """The small program."""
    found = processes._tie()
    if found is None:
        pytest.skip("coffre_native isn't installed: `make install` says why")
    return found


@pytest.fixture(params=["program", "twin"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to tie a child: the small program, and what runs before exec."""
    if request.param == "twin":
        monkeypatch.setattr(processes, "_tie", lambda: None)
    else:
        request.getfixturevalue("tie")
    return str(request.param)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_parent_takes_its_programs_along(way: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, way], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    soon(lambda: not is_running(child), "its end")


def test_the_program_is_what_was_asked_for_with_its_arguments_and_files(way: str) -> None:
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as written:
        given.write(b"handed on")
        given.flush()
        handle = given.fileno()
        command = ["/bin/sh", "-c", f'echo "$0|$1|$VALUE"; cat /proc/self/fd/{handle}', "a b", "$c"]
        process = start_tied(
            command, signal.SIGKILL, env={"VALUE": "seen"}, pass_fds=[handle], stdout=written
        )
        assert wait(process, PATIENCE_SECONDS) == 0
        written.seek(0)
        assert written.read() == b"a b|$c|seen\nhanded on"


def test_its_exit_code_is_the_programs(way: str) -> None:
    assert wait(start_tied(["/bin/sh", "-c", "exit 7"], signal.SIGKILL), PATIENCE_SECONDS) == 7
    assert wait(start_tied(["/bin/sh", "-c", "kill -9 $$"], signal.SIGKILL), PATIENCE_SECONDS) == -9


@pytest.mark.usefixtures("tie")
def test_a_program_that_cannot_be_executed_says_so(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("")
    with tempfile.TemporaryFile() as said:
        assert (
            wait(start_tied([str(tmp_path / "tool")], signal.SIGKILL, stderr=said), PATIENCE_SECONDS) == 127
        )
        said.seek(0)
        assert b"tool: can't be executed" in said.read()


def test_the_small_program_refuses_a_parent_that_is_not_its_own(tie: str) -> None:
    for words in (["9", "1", "/bin/true"], ["9", str(os.getpid())], ["999", str(os.getpid()), "/bin/true"]):
        assert subprocess.run([tie, *words], check=False).returncode == 126


@pytest.mark.parametrize("has_handles", [True, False])
def test_who_waits_for_a_program_waits_no_longer_than_he_said(
    has_handles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_handles:

        def refuse(pid: int) -> int:
            raise OSError(pid)

        monkeypatch.setattr(os, "pidfd_open", refuse)
    process = start_tied(["/bin/sleep", "600"], signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        wait(process, 0.05)
    process.kill()
    assert wait(process, PATIENCE_SECONDS) == -9
