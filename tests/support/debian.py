"""A PostgreSQL of the machine's own, with TCP, TLS and passwords, which the bundled servers don't have."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError
from tests.support.postgres import sql
from tests.support.waiting import soon

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
USER = "backup"
UNPRIVILEGED = 65534
PORTS = 5
"""How many are tried: a port that was free may be taken before the server has it."""


@dataclass(frozen=True)
class Authority:
    """A certificate authority made for a test.  ``pem`` is its certificate."""

    pem: str
    _key: ec.EllipticCurvePrivateKey
    _name: x509.Name

    @classmethod
    def new(cls, name: str) -> Authority:
        """An authority with a key of its own."""
        key, subject = ec.generate_private_key(ec.SECP256R1()), _name(name)
        certificate = (
            _unsigned(subject, subject, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate.public_bytes(serialization.Encoding.PEM).decode(), key, subject)

    def certificate(self, host: str) -> tuple[bytes, bytes]:
        """A certificate for a host and its key, both in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        signed = (
            _unsigned(_name(host), self._name, key)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        plain = serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        return signed.public_bytes(pem), key.private_bytes(
            pem, serialization.PrivateFormat.TraditionalOpenSSL, plain
        )


@dataclass(frozen=True)
class DebianServer:
    """A running server on ``localhost``, whose certificate names ``localhost`` only."""

    port: int
    password: str

    def url(self, database: str, host: str = "localhost", **options: str) -> str:
        """The URL of a database, password included; options go to its end."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        password = quote(self.password, safe="")
        return f"postgresql://{USER}:{password}@{host}:{self.port}/{database}?{query}".rstrip("?")

    def target(self, database: str) -> Target:
        """A database, for the tests' own statements."""
        return Target("localhost", self.port, USER, database, self.password, sslmode="disable")


@contextmanager
def debian_server(authority: Authority, password: str, *, tls: bool = True) -> Iterator[DebianServer]:
    """Start a server whose superuser needs a password, and stop it at the end."""
    home = Path(tempfile.mkdtemp(prefix="debian-"))
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    data, secret = home / "data", home / "secret"
    secret.write_text(password)
    _give(home, user)
    process = None
    try:
        command = [str(PROGRAMS / "initdb"), "-D", str(data), "-U", USER, "-A", "scram-sha-256", "-N"]
        options = ["-E", "UTF8", "--locale=C.UTF-8", f"--pwfile={secret}"]
        subprocess.run(
            [*command, *options], check=True, stdout=subprocess.DEVNULL, user=user, group=user, cwd="/"
        )
        for name, content in zip(("cert.pem", "key.pem"), authority.certificate("localhost"), strict=True):
            (data / name).write_bytes(content)
            (data / name).chmod(0o600)
        _give(data, user)
        for _ in range(PORTS):
            server = DebianServer(_free_port(), password)
            process = _launch(home, server.port, user, tls=tls)
            if _comes_up(server, process):
                break
        yield server
    finally:
        if process is not None:
            process.terminate()
            process.wait()
        shutil.rmtree(home, ignore_errors=True)


def _launch(home: Path, port: int, user: int | None, *, tls: bool) -> subprocess.Popen[bytes]:
    settings = {
        "port": str(port),
        "listen_addresses": "localhost",
        "unix_socket_directories": "",
        "ssl": "on" if tls else "off",
        "ssl_cert_file": "cert.pem",
        "ssl_key_file": "key.pem",
        "fsync": "off",
    }
    command = [str(PROGRAMS / "postgres"), "-D", str(home / "data")]
    with (home / "log").open("ab") as log:
        return subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in settings.items())],
            stdout=subprocess.DEVNULL,
            stderr=log,
            user=user,
            group=user,
            cwd="/",
        )


def _comes_up(server: DebianServer, process: subprocess.Popen[bytes]) -> bool:
    """Whether it answers; somebody else may have taken its port by now."""
    soon(lambda: process.poll() is not None or _answers(server), "the server")
    return process.poll() is None


def _answers(server: DebianServer) -> bool:
    try:
        return bool(sql(server.target("postgres"), "SELECT 1"))
    except CoffreError:
        return False


def _give(folder: Path, user: int | None) -> None:
    if user is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
    )
