"""Backups of any server, proven without a cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.results import VerifyResult
from tests.support.postgres import customer_server
from tests.support.vault import ServedStore, Verbs

Prove = Callable[[Target], VerifyResult]


@pytest.fixture
def verbs(postgres_root: Path, scratch_root: Path) -> Iterator[Verbs]:
    """The verbs with an empty vault."""
    with ServedStore() as store:
        yield Verbs(store, postgres_root, scratch_root)


@pytest.fixture
def proven(verbs: Verbs) -> Prove:
    """Takes a database, backs it up, has it proven; the result."""

    def prove(where: Target) -> VerifyResult:
        verbs.backup(where)
        return verbs.verify()

    return prove


@pytest.fixture(scope="module")
def server17(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """A customer's PostgreSQL 17."""
    with customer_server(postgres_root, 17, scratch_root) as server:
        yield server
