"""A stack whose holders and workers have seconds instead of minutes, so that they must pass on their work.

Its functions reach the vault by a line that can fail, and its workers have a small disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from tests.conftest import ROOT
from tests.support.disk import small_disk
from tests.support.postgres import customer_server
from tests.support.proxy import Proxy
from tests.support.stack import Stack

SECONDS = {"HOLD": 4, "CAPTURE": 4, "LOAD": 1}
SCRATCH = "16m"
"""Of a worker of a backup, if this user may make a disk of that size."""


@pytest.fixture(scope="package")
def line() -> Iterator[Proxy]:
    """What stands between the functions and the vault."""
    with Proxy() as started:
        yield started


@pytest.fixture(scope="package")
def worker_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The scratch space of a backup's workers; None if no small disk can be made."""
    folder = tmp_path_factory.mktemp("disk")
    with small_disk(folder, SCRATCH) as mounted:
        yield folder if mounted else None


@pytest.fixture(scope="package")
def hurried(
    postgres_root: Path, tmp_path_factory: pytest.TempPathFactory, line: Proxy, worker_disk: Path | None
) -> Iterator[Stack]:
    """The real template, but for time, line and disk.

    Holders and workers pass on their work after seconds.  The state machine waits for a second between two
    attempts, and once for a second for a store that doesn't answer: otherwise more than a minute in all.
    It waits for a holder's sign of life for half of the time.
    """
    folder = tmp_path_factory.mktemp("hurried")
    for name in ("functions", "layers", ".coffre"):
        (folder / name).symlink_to(ROOT / name)
    text = (ROOT / "template.yaml").read_text()
    for what, seconds in SECONDS.items():
        text = changed(text, rf'(COFFRE_{what}_SECONDS: )"\d+"', rf'\1"{seconds}"')
    text = changed(text, r"(\n +)COFFRE_SCRATCH:", rf"\1AWS_ENDPOINT_URL_S3: {line.url}\g<0>")
    if worker_disk is not None:
        text = changed(text, r"(\n +)COFFRE_CAPTURE_SECONDS:", rf"\1COFFRE_SCRATCH: {worker_disk}\g<0>")
    (folder / "template.yaml").write_text(text)
    (folder / "statemachines").mkdir()
    for path in (ROOT / "statemachines").iterdir():
        (folder / "statemachines" / path.name).write_text(path.read_text())
    backup = folder / "statemachines/backup.asl.yaml"
    text = changed(backup.read_text(), r"SecondsPath: \$\.aborted\.answer\.wait", "Seconds: 1")
    text = changed(text, r"IntervalSeconds: 10\n( +MaxAttempts:) \d", r"IntervalSeconds: 1\n\1 1", times=5)
    text = changed(text, "HeartbeatSeconds: 40", "HeartbeatSeconds: 20")
    backup.write_text(text)
    made = Stack(folder / "template.yaml", tmp_path_factory.mktemp("cloud"))
    line.lead_to(made.info["endpoint"])
    yield made
    made.close()


def changed(text: str, pattern: str, replacement: str, times: int = 1) -> str:
    """A text with something else in so many places."""
    text, found = re.subn(pattern, replacement, text)
    assert found == times, pattern
    return text


@pytest.fixture(scope="package")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """A PostgreSQL 16 that plays a customer's."""
    with customer_server(postgres_root, 16, scratch_root) as made:
        yield made
