"""PostgreSQL servers that play customers' servers, and vaults with a catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.server import EphemeralServer
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.store import MemoryStore
from tests.fakes.tables import TABLE
from tests.support.postgres import customer_server
from tests.support.vault import ServedStore, Verbs


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


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(MemoryDynamo(), TABLE)


@pytest.fixture
def verbs(catalogue: Catalogue, postgres_root: Path, scratch_root: Path) -> Verbs:
    """Backups and restores in a vault in memory."""
    return Verbs(MemoryStore(), postgres_root, scratch_root, catalogue)


@pytest.fixture
def served(catalogue: Catalogue, postgres_root: Path, scratch_root: Path) -> Iterator[Verbs]:
    """The same in one that a proof can fetch from."""
    with ServedStore() as store:
        yield Verbs(store, postgres_root, scratch_root, catalogue)
