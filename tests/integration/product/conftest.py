"""PostgreSQL servers that play customers' servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from tests.support.postgres import customer_server


@pytest.fixture(scope="module")
def server16(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """A PostgreSQL 16."""
    with customer_server(postgres_root, 16, scratch_root) as server:
        yield server


@pytest.fixture(scope="module")
def server18(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """A PostgreSQL 18."""
    with customer_server(postgres_root, 18, scratch_root) as server:
        yield server
