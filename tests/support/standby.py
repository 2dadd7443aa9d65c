"""A hot standby of an embedded server, which streams from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.processes import clean_environment
from coffre.databases.postgresql.server import UNPRIVILEGED, EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError
from tests.support.postgres import CUSTOMER, sql, target
from tests.support.waiting import PATIENCE_SECONDS, soon

PRIMARY = {"wal_level": "replica", "max_wal_senders": "4", "fsync": "off", "synchronous_commit": "on"}
"""What a server needs to have standbys, which get at once what it commits."""

_KNOWN = "SELECT FROM pg_stat_replication WHERE backend_xmin IS NOT NULL"
"""A standby has told which rows it needs: it does so some time after it began to answer."""


@contextmanager
def standby(primary: EphemeralServer, tools_root: Path, scratch: Path) -> Iterator[EphemeralServer]:
    """A standby of a customer's server that was started with the settings `PRIMARY`."""
    home = Path(tempfile.mkdtemp(prefix="standby-", dir=scratch))
    data, boot = home / "data", target(primary, "postgres")
    _copy(boot, data)
    conninfo = f"host={primary.socket_dir} port={primary.port} user={CUSTOMER}"
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"primary_conninfo = '{conninfo}'\nhot_standby_feedback = on\n")
        settings.write("wal_receiver_status_interval = 1\n")
    (data / "standby.signal").touch()
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    if user is not None:
        for path in (home, *home.rglob("*")):
            os.chown(path, user, user)
    program = tools_root.parent / "proof" / str(primary.major) / "bin/postgres"
    command = [str(program), "-D", str(data), "-k", str(home), "-p", str(primary.port)]
    command += [f"--{name}={value}" for name, value in PRIMARY.items()]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, user=user, env=clean_environment())
    made = EphemeralServer(primary.major, home, home)
    try:
        soon(lambda: _answers(target(made, "postgres")), "the standby")
        soon(lambda: sql(boot, _KNOWN), "what rows it needs")
        yield made
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        shutil.rmtree(home)


def _copy(boot: Target, data: Path) -> None:
    """A base backup by copying files, as PostgreSQL's manual describes it for 15 and newer."""
    with open_session(boot, seconds=60, application="tests") as session:
        session.run("SELECT pg_backup_start('standby', true)")
        source = Path(str(session.value("SHOW data_directory")))
        ignored = shutil.ignore_patterns("postmaster.*", "pg_replslot")
        shutil.copytree(source, data, ignore=ignored, copy_function=_copy_file)
        (data / "pg_replslot").mkdir()
        ((_, label, tablespaces),) = session.run("SELECT * FROM pg_backup_stop(false)")
        (data / "backup_label").write_text(label)
        if tablespaces:
            (data / "tablespace_map").write_text(tablespaces)
    data.chmod(0o700)


def _copy_file(source: str, to: str) -> None:
    """Copy a file, unless the server has removed it meanwhile: its log says so, then."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, to)


def _answers(where: Target) -> bool:
    try:
        return bool(sql(where, "SELECT 1"))
    except CoffreError:
        return False
