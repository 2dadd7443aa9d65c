"""What tests of all tiers share: PostgreSQL's programs, and servers of their own."""

from __future__ import annotations

import gc
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler.loadfile import LoadFileScheduling

from coffre.compiled import compiled
from coffre.databases.postgresql import frames
from coffre.vault import scan
from localcloud import expressions
from localcloud.lean import keep_no_list_of_instances, share_descriptions

if TYPE_CHECKING:
    from tests.support.stack import Stack

# How long anything takes is never asserted.  Each run tries the same examples, as all chance here has a seed;
# ``--hypothesis-profile=explore`` looks for others.
settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("tests"), derandomize=False)
settings.load_profile("tests")

ROOT = Path(__file__).parents[1]
MAJORS = (14, 15, 16, 17, 18)
"""The versions of PostgreSQL that sources may have."""
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder with a random name is made in it
MEMORY_BYTES = 4 << 30
"""What must be free there before a test run uses it."""


CLOUDS = {
    "stack": r"\bstack: Stack\b|\bstory: Story\b|\bfaults\.conftest import .*Desk\b",
    "hurried": r"\bhurried: Stack\b",
}
"""Which clouds tests share, and how a file says that it uses one."""

LATE = ("tests/integration/product", "tests/integration/localcloud", "tests/contract", "tests/unit")
"""First comes what forks a lot, which costs more the larger a process has grown; last come many small
ones, which fill the gaps."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests in an order in which all of them take less time."""
    items.sort(key=lambda item: next((n for n, one in enumerate(LATE, 1) if item.nodeid.startswith(one)), 0))


class ByCloud(LoadFileScheduling):
    """Files whose tests share a cloud go to one process, where it is started once; others to any.

    Only time depends on it: a file that isn't recognized starts a cloud of its own.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _cloud_or(nodeid.partition("::")[0])


@cache
def _cloud_or(file: str) -> str:
    """The cloud that a file's tests use; the file itself if they use none."""
    text = (ROOT / file).read_text()
    return next((cloud for cloud, sign in CLOUDS.items() if re.search(sign, text)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByCloud:
    """Let processes share the work by cloud and by file."""
    return ByCloud(config, log)


def pytest_configure() -> None:
    """Make sessions with AWS cheaper: they share what they read, and moto checks expressions faster."""
    gc.disable()  # until all tests are collected
    share_descriptions()
    keep_no_list_of_instances()
    expressions.install()


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what stays: walking it took a fifth of the small tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    gc.enable()


@pytest.fixture(scope="session")
def postgres_root() -> Path:
    """PostgreSQL's tools as their layer ships them, put together once and kept for the next run.

    The servers of all majors, as the proof layers ship them, are beside: see `EphemeralServer.start`.
    """
    destination = ROOT / ".coffre" / "opt"
    layers: list[tuple[str, list[str]]] = [("postgres", []), ("proof", [str(major) for major in MAJORS])]
    for layer, variants in layers:
        program = ROOT / "layers" / layer / "assemble.py"
        subprocess.run([sys.executable, str(program), str(destination), *variants], check=True)
    return destination / "postgres"


@pytest.fixture(scope="module", params=["python", "compiled"])
def twin(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a test run with either twin of the inner loops."""
    library = compiled()
    if request.param == "compiled" and library is None:
        pytest.skip("coffre_native isn't installed: `make install` says why")
    with pytest.MonkeyPatch.context() as patch:
        for module in (frames, scan):
            patch.setattr(module, "compiled", lambda: library if request.param == "compiled" else None)
        yield


@pytest.fixture(scope="session")
def scratch_root() -> Iterator[Path]:
    """Scratch space that a server may enter when it has to change its user because the tests run as root.

    In memory if there is much of it: a server is a thousand files, which cost more than its work elsewhere.
    """
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES
    folder = Path(tempfile.mkdtemp(prefix="coffre-tests-", dir=MEMORY if roomy else None))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stack(
    postgres_root: Path, scratch_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The real template in a local cloud; tests register databases under names of their own."""
    from tests.support.stack import Stack

    scratch = scratch_root / "functions"
    scratch.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(scratch))
        made = Stack(ROOT / "template.yaml", tmp_path_factory.mktemp("cloud"))
    yield made
    made.close()
