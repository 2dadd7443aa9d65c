"""A stack whose holders and workers have seconds instead of minutes, so that they must pass on their work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from tests.conftest import ROOT
from tests.support.postgres import customer_server
from tests.support.stack import Stack

SECONDS = {"HOLD": 4, "CAPTURE": 4, "LOAD": 1}


@pytest.fixture(scope="package")
def hurried(postgres_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The real template, but for the time after which holders and workers pass on their work."""
    folder = tmp_path_factory.mktemp("hurried")
    for name in ("functions", "layers", "statemachines", ".coffre"):
        (folder / name).symlink_to(ROOT / name)
    text = (ROOT / "template.yaml").read_text()
    for what, seconds in SECONDS.items():
        text, changed = re.subn(rf'(COFFRE_{what}_SECONDS: )"\d+"', rf'\1"{seconds}"', text)
        assert changed == 1
    (folder / "template.yaml").write_text(text)
    made = Stack(folder / "template.yaml", tmp_path_factory.mktemp("cloud"))
    yield made
    made.close()


@pytest.fixture(scope="package")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """A PostgreSQL 16 that plays a customer's."""
    with customer_server(postgres_root, 16, scratch_root) as made:
        yield made
