"""A PostgreSQL of the machine's own, with TLS, which the bundled servers don't have."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.lab import OWNER, SERVER, BenchError, Lab, execute
from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
"""Debian's."""

UNPRIVILEGED = 65534
START_SECONDS = 30.0


def available() -> bool:
    """Whether this machine can run such a server and make a certificate for it."""
    return (PROGRAMS / "postgres").is_file() and shutil.which("openssl") is not None


@contextmanager
def server(lab: Lab) -> Iterator[tuple[Target, Target, Path]]:
    """A running server.

    Yields
    ------
    tuple
        Its database ``postgres`` over the unix socket, the same over TLS, and a folder with the libpq that
        knows TLS and the certificate (``ca.pem``).
    """
    home = Path(tempfile.mkdtemp(prefix="bench-tls-", dir=lab.scratch))
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    process = None
    try:
        data, libpq = home / "data", home / "libpq"
        shutil.copytree(lab.postgres / "libpq", libpq)
        _give(home, user)
        _make(data, user)
        certificate = _certificate(data)
        (libpq / "ca.pem").write_text(certificate)
        _give(home, user)
        local = Target(str(home), _free_port(), OWNER, "postgres", sslmode="disable")
        process = _launch(data, home, local.port, user)
        _wait(local, process)
        yield local, replace(local, host="localhost", sslmode="verify-full", ca=certificate), libpq
    finally:
        if process is not None:
            process.terminate()
            process.wait()
        shutil.rmtree(home, ignore_errors=True)


def at(server_target: Target, database: str) -> Target:
    """Another database of the same server."""
    return replace(server_target, database=database)


def _make(data: Path, user: int | None) -> None:
    command = [str(PROGRAMS / "initdb"), "-D", str(data), "-U", OWNER, "-A", "trust", "-N", "-E", "UTF8"]
    subprocess.run(
        [*command, "--locale=C"], check=True, stdout=subprocess.DEVNULL, user=user, group=user, cwd="/"
    )


def _certificate(data: Path) -> str:
    """Make a certificate for ``localhost`` that signs itself; its PEM."""
    key, certificate = data / "server.key", data / "server.crt"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    key.chmod(0o600)
    return certificate.read_text()


def _launch(data: Path, folder: Path, port: int, user: int | None) -> subprocess.Popen[bytes]:
    settings = {
        **SERVER,
        "port": str(port),
        "listen_addresses": "localhost",
        "unix_socket_directories": str(folder),
        "ssl": "on",
        "fsync": "off",
        "wal_level": "replica",
    }
    command = [str(PROGRAMS / "postgres"), "-D", str(data), *(f"--{n}={v}" for n, v in settings.items())]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, user=user, group=user, cwd="/")


def _wait(target: Target, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            execute(target, "SELECT 1")
        except CoffreError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise BenchError("the server with TLS doesn't start") from error
            time.sleep(0.1)
        else:
            return


def _give(folder: Path, user: int | None) -> None:
    if user is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
