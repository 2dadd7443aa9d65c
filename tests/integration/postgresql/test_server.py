"""The ephemeral server starts anywhere, says why when it can't, and leaves nothing behind."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import ServerStartError, ToolMissingError
from tests.support.waiting import soon

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as another user")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="coffre-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def processes_below(folder: Path) -> dict[int, str]:
    """The command lines of the processes that were started with a path below ``folder``."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f" {folder}/" in line:
            found[int(place.name)] = line
    return found


def ask(server: EphemeralServer, statement: str) -> object:
    target = Target(str(server.socket_dir), server.port, server.superuser, "postgres", sslmode="disable")
    with open_session(target, seconds=60) as session:
        return session.value(statement)


@pytest.mark.parametrize("major", [14, 15, 16, 17, 18])
def test_a_server_of_each_major_answers_and_leaves_nothing_behind(
    postgres_root: Path, scratch: Path, major: int
) -> None:
    with EphemeralServer.start(postgres_root, major, scratch) as server:
        assert str(ask(server, "SHOW server_version")).startswith(f"{major}.")
        assert ask(server, "SHOW listen_addresses") == ""
        assert ask(server, "SELECT rolsuper FROM pg_roles WHERE rolname = 'coffre_boot'")
        assert processes_below(scratch)
        socket_dir = server.socket_dir
    assert not processes_below(scratch)
    assert not list(scratch.iterdir())
    assert not socket_dir.exists()


def test_settings_go_over_the_templates(postgres_root: Path, scratch: Path) -> None:
    wanted = {"wal_level": "logical", "max_wal_senders": "3", "application_name": "two words"}
    with EphemeralServer.start(postgres_root, 16, scratch, settings=wanted) as server:
        assert ask(server, "SHOW wal_level") == "logical"
        assert ask(server, "SELECT reset_val FROM pg_settings WHERE name = 'max_wal_senders'") == "3"


def test_a_failed_start_tells_the_servers_own_reason_and_leaves_nothing_behind(
    postgres_root: Path, scratch: Path
) -> None:
    with pytest.raises(ServerStartError, match="shared_buffers"):
        EphemeralServer.start(postgres_root, 18, scratch, settings={"shared_buffers": "plenty"})
    assert not processes_below(scratch)
    assert not list(scratch.iterdir())


def test_a_version_that_the_layer_does_not_hold_is_named(postgres_root: Path, scratch: Path) -> None:
    with pytest.raises(ToolMissingError, match="PostgreSQL 13"):
        EphemeralServer.start(postgres_root, 13, scratch)


def test_a_long_scratch_path_still_gives_a_socket_that_can_be_addressed(
    postgres_root: Path, scratch: Path
) -> None:
    deep = scratch / ("d" * 120)
    deep.mkdir()
    with EphemeralServer.start(postgres_root, 16, deep) as server:
        assert ask(server, "SELECT 1") == 1
        socket_dir = server.socket_dir
    assert not socket_dir.exists()


def test_the_server_sees_nothing_of_its_parents_environment(
    postgres_root: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("PGPASSWORD", "hidden")
    with EphemeralServer.start(postgres_root, 16, scratch):
        pid = next(scratch.glob("*/data/postmaster.pid")).read_text().split()[0]
        names = {item.partition(b"=")[0] for item in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}
    assert b"PATH" in names
    assert names <= {b"PATH", b"LANG", b"TZ", b"HOME", b"", b"PG_GRANDPARENT_PID"}


def test_a_killed_parent_leaves_no_server(postgres_root: Path, scratch: Path) -> None:
    program = (
        "import pathlib, sys, threading, time\n"
        "from coffre.databases.postgresql.server import EphemeralServer\n"
        "start = lambda: EphemeralServer.start(pathlib.Path(sys.argv[1]), 18, pathlib.Path(sys.argv[2]))\n"
        "thread = threading.Thread(target=start); thread.start(); thread.join()\n"
        "print('ready', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(postgres_root), str(scratch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        below = {pid: line for pid, line in processes_below(scratch).items() if pid != parent.pid}
        # The thread that asked for the server has ended; the server has not.
        assert any("/bin/postgres" in line for line in below.values())
        parent.kill()
    soon(lambda: not processes_below(scratch), "their end")


@as_root
def test_root_starts_a_server_from_a_layer_that_only_root_can_reach(
    postgres_root: Path, scratch: Path
) -> None:
    private = scratch / "private"
    private.mkdir(mode=0o700)
    shutil.copytree(postgres_root.parent / "proof/16", private / "proof/16")
    with EphemeralServer.start(private / "postgres", 16, scratch) as server:
        assert ask(server, "SELECT 1") == 1


@as_root
def test_root_is_told_of_a_scratch_folder_that_the_server_could_not_enter(
    postgres_root: Path, scratch: Path
) -> None:
    private = scratch / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(ServerStartError, match="can't reach"):
        EphemeralServer.start(postgres_root, 16, private)
