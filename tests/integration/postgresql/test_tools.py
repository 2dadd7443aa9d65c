"""PostgreSQL's own programs connect where they are told, keep secrets and end in time."""

import select
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from coffre.databases.postgresql.archive import archive_entries, data_entries
from coffre.databases.postgresql.connection import PINNED, open_session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools, dump_major, restore_major
from coffre.errors import (
    AuthenticationError,
    ConnectionLostError,
    DatabaseMissingError,
    DeadlineExceededError,
    DiskFullError,
    ServerTooNewError,
    ServerTooOldError,
    TlsError,
    ToolFailedError,
    ToolMissingError,
)
from tests.support.waiting import soon

PASSWORD = r"se:cr\et w'ord é"

HOSTILE_NAMES = [
    "dbname=postgres host=evil.invalid",
    "postgresql://evil.invalid/postgres",
    "service=evil",
    "-c",
    "--dbname=postgres",
    "$(touch /tmp/evil)",
    "a b'\"\\%;",
    "line\nbreak",
    " spaces ",
]

SCHEMA = """
    CREATE SCHEMA "DATA"; CREATE SCHEMA "SET";
    CREATE TABLE "DATA".rows (id serial PRIMARY KEY, body text DEFAULT 'x' CHECK (body <> ''));
    CREATE SEQUENCE "SET".numbers;
    CREATE TABLE "a table" ("a column" int);
    CREATE TABLE "two
lines; 1; 0 2 TABLE DATA" (id int);
    CREATE MATERIALIZED VIEW "DATA".summary AS SELECT count(*) FROM "DATA".rows;
    CREATE TABLE parts (id int) PARTITION BY RANGE (id);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (9);
    CREATE STATISTICS together ON id, body FROM "DATA".rows;
    COMMENT ON TABLE "a table" IS 'TABLE DATA';
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
    CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
    INSERT INTO "DATA".rows (body) VALUES ('content');
    SELECT lo_from_bytea(0, 'large');
"""


@dataclass(frozen=True)
class Bench:
    """A server, the programs of its version, and how to reach it."""

    major: int
    tools: Tools
    target: Target

    def psql(self, *arguments: str, database: str = "postgres") -> str:
        target = replace(self.target, database=database)
        return self.tools.run("psql", self.major, ["-At", *arguments], target, deadline=within()).decode()

    def query(self, sql: str, database: str = "postgres") -> str:
        return self.psql("-c", sql, database=database).removesuffix("\n")

    def create(self, database: str) -> Target:
        quoted = '"' + database.replace('"', '""') + '"'
        self.query(f"CREATE DATABASE {quoted}")
        return replace(self.target, database=database)


def within(seconds: float = 240) -> float:
    return time.monotonic() + seconds


@pytest.fixture(scope="module", params=[16, 18])
def bench(request: pytest.FixtureRequest, postgres_root: Path) -> Iterator[Bench]:
    """A server where the bootstrap superuser needs no password and everybody else does."""
    major: int = request.param
    with tempfile.TemporaryDirectory(prefix="coffre-test-") as folder:
        Path(folder).chmod(0o755)
        rules = Path(folder, "pg_hba.conf")
        rules.write_text("local all coffre_boot trust\nlocal all all scram-sha-256\n")
        settings = {"hba_file": str(rules)}
        with EphemeralServer.start(postgres_root, major, Path(folder), settings=settings) as server:
            target = Target(str(server.socket_dir), server.port, server.superuser, "postgres")
            yield Bench(major, Tools(postgres_root), target)


@pytest.fixture(scope="module")
def reader(bench: Bench) -> Target:
    """A login with a password that would break a careless password file."""
    literal = PASSWORD.replace("'", "''")
    bench.query(f"CREATE ROLE reader LOGIN PASSWORD '{literal}'")
    return replace(bench.target, user="reader", password=PASSWORD)


@pytest.mark.parametrize(("server", "tool"), [(14, 16), (15, 16), (16, 16), (17, 18), (18, 18)])
def test_each_server_gets_the_lowest_version_of_the_tools_that_knows_it(server: int, tool: int) -> None:
    assert dump_major(server) == tool
    assert restore_major(server) == tool


@pytest.mark.parametrize("choose", [dump_major, restore_major])
def test_servers_that_the_tools_do_not_know_are_refused(choose: Callable[[int], int]) -> None:
    with pytest.raises(ServerTooOldError, match="13"):
        choose(13)
    with pytest.raises(ServerTooNewError, match="19"):
        choose(19)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="16/bin/psql"):
        Tools(tmp_path).run("psql", 16, [], deadline=within())


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_database_named_like_a_connection_string_is_connected_to_literally(
    bench: Bench, name: str, tmp_path: Path
) -> None:
    target = bench.create(name)
    assert bench.query("SELECT current_database()", database=name) == name
    bench.query("CREATE TABLE marker (id int)", database=name)

    archive = tmp_path / "archive"
    bench.tools.run(
        "pg_dump", bench.major, ["-Fc", "--schema-only"], target, stdout=archive, deadline=within()
    )
    bench.query("DROP TABLE marker", database=name)
    bench.tools.run(
        "pg_restore", bench.major, ["--exit-on-error", "-j2", str(archive)], target, deadline=within()
    )

    assert bench.query("SELECT to_regclass('marker')", database=name) == "marker"
    assert bench.query("SELECT to_regclass('marker')") == ""


def test_a_schema_dump_holds_no_data_and_a_full_one_does(bench: Bench, tmp_path: Path) -> None:
    target = bench.create("content")
    bench.query(SCHEMA, database="content")
    no_large_objects = "-B" if bench.major == 16 else "--no-large-objects"

    def entries(*options: str) -> list[tuple[str, str]]:
        archive = tmp_path / "archive"
        bench.tools.run("pg_dump", bench.major, ["-Fc", *options], target, stdout=archive, deadline=within())
        with archive.open("rb") as source:
            listing = bench.tools.run(
                "pg_restore", bench.major, ["--list"], stdin=source.fileno(), deadline=within()
            )
        found = archive_entries(listing.decode())
        assert len(found) == sum(line[:1].isdigit() for line in listing.decode().split("\n"))
        data = data_entries(found)
        return [(entry.description, entry.name) for entry in (data if not options else found)]

    schema = entries("--section=pre-data", "--section=post-data", no_large_objects)
    described = {description for description, _ in schema}
    assert not described & {"TABLE DATA", "SEQUENCE SET", "BLOB", "BLOBS", "BLOB METADATA"}
    assert ("TABLE", "DATA rows coffre_boot") in schema
    assert ("SEQUENCE", "SET numbers coffre_boot") in schema
    assert ("MATERIALIZED VIEW", "DATA summary coffre_boot") in schema
    assert ("MATERIALIZED VIEW DATA", "DATA summary coffre_boot") in schema
    assert {"TABLE ATTACH", "DEFAULT ACL", "SEQUENCE OWNED BY", "COMMENT", "STATISTICS"} <= described

    data = entries()
    assert ("TABLE DATA", "DATA rows coffre_boot") in data
    assert ("TABLE DATA", "public two lines; 1; 0 2 TABLE DATA coffre_boot") in data
    assert ("SEQUENCE SET", "SET numbers coffre_boot") in data
    assert {description for description, _ in data} - {"TABLE DATA", "SEQUENCE SET"} <= {
        "BLOB",
        "BLOBS",
        "BLOB METADATA",
    }
    assert len(data) >= 8


@pytest.mark.parametrize("line", ["garbage", "1; 0 2 NOVEL DATA public t o", "1; 0 2 ", "x; 0 2 TABLE a b c"])
def test_a_listing_that_is_not_understood_is_refused(line: str) -> None:
    with pytest.raises(ToolFailedError, match="unknown"):
        archive_entries(f"; header\n{line}\n")


def test_statistics_count_as_data_since_they_hold_values_of_rows() -> None:
    entries = archive_entries("9; 0 0 STATISTICS DATA public t owner\n10; 3381 7 STATISTICS DATA s owner\n")
    assert [entry.dump_id for entry in data_entries(entries)] == [9]


def test_a_password_with_every_special_sign_works(bench: Bench, reader: Target) -> None:
    said = bench.tools.run("psql", bench.major, ["-Atc", "SELECT user"], reader, deadline=within())
    assert said == b"reader\n"


def test_a_wrong_password_fails_with_the_servers_words_and_without_the_password(
    bench: Bench, reader: Target
) -> None:
    wrong = replace(reader, password="not-the-password")
    with pytest.raises(AuthenticationError, match="password authentication failed") as failure:
        bench.tools.run("pg_dump", bench.major, ["-s"], wrong, deadline=within())
    assert "not-the-password" not in str(failure.value)


def test_a_database_that_is_not_there_is_told_apart_from_a_program_that_fails(bench: Bench) -> None:
    with pytest.raises(DatabaseMissingError, match="nowhere"):
        bench.tools.run(
            "pg_dump", bench.major, [], replace(bench.target, database="nowhere"), deadline=within()
        )


def test_a_session_that_ends_under_a_program_is_a_lost_connection(bench: Bench) -> None:
    lost = bench.create("lost")
    bench.query("CREATE TABLE locked (id int)", "lost")
    locks = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'public.locked'::regclass"
    with (
        ThreadPoolExecutor() as threads,
        open_session(lost, seconds=60) as holder,
        open_session(lost, seconds=60) as administrator,
    ):
        holder.run("BEGIN")
        holder.run("LOCK public.locked")
        dump = threads.submit(bench.tools.run, "pg_dump", bench.major, [], lost, deadline=within())
        soon(lambda: administrator.run(locks), "a program that waits")
        administrator.run(f"SELECT pg_terminate_backend(pid) FROM ({locks}) AS waiting")
        with pytest.raises(ConnectionLostError, match="pg_dump"):
            dump.result()


def test_a_program_without_room_for_what_it_writes_says_that_the_disk_is_full(bench: Bench) -> None:
    target = bench.create("outgrown")
    bench.query(SCHEMA, database="outgrown")
    with pytest.raises(DiskFullError, match="pg_dump"):
        bench.tools.run("pg_dump", bench.major, ["-Fc"], target, stdout=Path("/dev/full"), deadline=within())


@pytest.mark.parametrize(
    "words",
    [
        "server closed the connection unexpectedly",
        "no connection to the server",
        "pg_dump: error: could not write to output file: No space left on device",
    ],
)
def test_a_server_that_speaks_of_losses_has_none(bench: Bench, words: str) -> None:
    """So does a foreign table, when the server behind it goes away, and a message may have several lines."""
    for text in (f"'{words}'", f"E'for example\\n{words}'"):
        script = f"DO $$ BEGIN RAISE EXCEPTION {text}; END $$"
        with pytest.raises(ToolFailedError, match=words):
            bench.tools.run("psql", bench.major, ["-c", script], bench.target, deadline=within())


def test_a_password_that_a_program_repeats_is_blotted_out(bench: Bench, reader: Target) -> None:
    with pytest.raises(ToolFailedError) as failure:
        bench.tools.run("psql", bench.major, ["-f", f"/{PASSWORD}"], reader, deadline=within())
    assert PASSWORD not in str(failure.value)
    assert "/***" in str(failure.value)


def test_no_process_shows_the_password_while_a_program_runs(bench: Bench, reader: Target) -> None:
    def shown(what: str) -> list[bytes]:
        contents = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                contents.append((place / what).read_bytes())
            except OSError:
                continue
        return contents

    waiting = "SELECT pg_advisory_lock(1), 'watched'"
    with ThreadPoolExecutor() as threads, open_session(bench.target, seconds=240) as holder:
        holder.run("SELECT pg_advisory_lock(1)")
        arguments = ["-c", waiting]
        running = threads.submit(bench.tools.run, "psql", bench.major, arguments, reader, deadline=within())
        soon(lambda: holder.run("SELECT FROM pg_locks WHERE NOT granted"), "a program that waits")
        assert any(b"--no-psqlrc" in line and b"watched" in line for line in shown("cmdline"))
        assert any(b"PGPASSFILE=" in content for content in shown("environ"))
        assert not any(PASSWORD.encode() in content for content in shown("cmdline") + shown("environ"))
        holder.run("SELECT pg_advisory_unlock(1)")
        running.result()


def test_the_callers_environment_does_not_reach_the_program(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGHOST", "PGOPTIONS", "PGSERVICE", "AWS_SECRET_ACCESS_KEY", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "from-the-caller")
    seen = bench.psql("-c", r"\! env")
    assert "PGAPPNAME=coffre" in seen
    assert "from-the-caller" not in seen


def test_amounts_of_money_in_a_schema_are_written_as_rows_are(bench: Bench) -> None:
    """Its text depends on a setting that pg_dump leaves as it is: '1.234,50 €' is no money elsewhere."""
    bench.create("rich")
    bench.query("ALTER DATABASE rich SET lc_monetary = 'POSIX'")
    assert bench.query("SHOW lc_monetary", database="rich") == PINNED["lc_monetary"]


def test_at_its_deadline_a_program_ends_and_so_does_its_statement(bench: Bench) -> None:
    with pytest.raises(DeadlineExceededError):
        bench.tools.run(
            "psql", bench.major, ["-c", "SELECT pg_sleep(600)"], bench.target, deadline=within(0.5)
        )
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(600)%' AND pid <> pg_backend_pid()"
    )
    soon(lambda: bench.query(running) == "0", "the statement's end")


def test_a_killed_parent_leaves_no_program(bench: Bench, postgres_root: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from coffre.databases.postgresql.connection import Target\n"
        "from coffre.databases.postgresql.tools import Tools\n"
        "root, major, host = sys.argv[1:]\n"
        "target = Target(host, 5432, 'coffre_boot', 'postgres')\n"
        "sleep = ['-c', 'SELECT pg_sleep(601)']\n"
        "Tools(pathlib.Path(root)).run('psql', int(major), sleep, target, deadline=time.monotonic() + 600)\n"
    )

    def sleeping() -> bool:
        lines = []
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                lines.append(place.read_bytes())
            except OSError:
                continue
        return any(b"bin/psql\0" in line and b"sleep(601)" in line for line in lines)

    command = [sys.executable, "-c", program, str(postgres_root), str(bench.major), bench.target.host]
    with subprocess.Popen(command) as parent:
        soon(sleeping, "the program")
        parent.kill()
    soon(lambda: not sleeping(), "its end")


@dataclass(frozen=True)
class Authority:
    """A certificate authority and a server certificate for ``localhost``."""

    certificate: str
    chain: Path


def _authority(folder: Path) -> Authority:
    now = datetime.now(UTC)

    def certify(
        name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, ca: bool
    ) -> str:
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    issuer = f"authority {x509.random_serial_number()}"
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    private = leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = folder / "chain.pem"
    chain.write_text(certify("localhost", leaf, issuer, root, ca=False) + private.decode())
    return Authority(certify(issuer, root, issuer, root, ca=True), chain)


def _relay(listener: socket.socket, context: ssl.SSLContext, socket_path: str) -> None:
    """Answer SSLRequest, speak TLS to the client and plainly to the server's unix socket."""

    def serve(client: socket.socket) -> None:
        try:
            client.recv(8)
            client.sendall(b"S")
            with context.wrap_socket(client, server_side=True) as tls, socket.socket(socket.AF_UNIX) as plain:
                plain.connect(socket_path)
                _carry(tls, plain)
        except OSError:
            client.close()

    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(client,), daemon=True).start()


def _carry(tls: ssl.SSLSocket, plain: socket.socket) -> None:
    """Both directions in one thread: OpenSSL's connections aren't for two at the same time."""
    while True:
        ready = [tls] if tls.pending() else select.select([tls, plain], [], [])[0]
        if plain in ready:
            if not (data := plain.recv(65536)):
                return
            tls.settimeout(None)
            tls.sendall(data)
        if tls in ready:
            tls.settimeout(0)
            try:
                data = tls.recv(65536)
            except ssl.SSLWantReadError:  # a half record, or one of TLS's own
                continue
            if not data:
                return
            plain.sendall(data)


@pytest.fixture
def over_tls(bench: Bench, tmp_path: Path) -> Iterator[Target]:
    """The same server behind TLS on localhost."""
    authority = _authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.chain)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        path = f"{bench.target.host}/.s.PGSQL.{bench.target.port}"
        threading.Thread(target=_relay, args=(listener, context, path), daemon=True).start()
        yield replace(
            bench.target, host="localhost", port=listener.getsockname()[1], ca=authority.certificate
        )
        listener.shutdown(socket.SHUT_RDWR)


def test_programs_verify_the_servers_certificate(bench: Bench, over_tls: Target, tmp_path: Path) -> None:
    said = bench.tools.run("psql", bench.major, ["-c", r"\conninfo"], over_tls, deadline=within())
    assert b"TLSv1.3" in said
    dump = bench.tools.run("pg_dump", bench.major, ["-s"], over_tls, deadline=within())
    assert b"PostgreSQL database dump complete" in dump

    other = _authority(tmp_path).certificate
    for wrong in (
        replace(over_tls, ca=other),
        replace(over_tls, ca=None),
        replace(over_tls, host="127.0.0.1"),
    ):
        with pytest.raises(TlsError, match="certificate"):
            bench.tools.run("psql", bench.major, ["-c", "SELECT 1"], wrong, deadline=within())


def test_a_layer_in_a_folder_with_spaces_and_colons_serves_tls(
    bench: Bench, over_tls: Target, postgres_root: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "my layer: 1"
    odd.symlink_to(postgres_root)
    said = Tools(odd).run("psql", bench.major, ["-Atc", "SELECT 1"], over_tls, deadline=within())
    assert said == b"1\n"
