"""Sources on real servers, and backup, proof and restore in this process, without a cloud."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.databases.registration import Registration
from coffre.results import Finding, RestoreResult, VerifyResult
from tests.support.postgres import create, customer_server, target
from tests.support.vault import ServedStore, Verbs

Prove = Callable[[Target], VerifyResult]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    """A customer's PostgreSQL 16."""
    with customer_server(postgres_root, 16, scratch_root) as started:
        yield started


@dataclass
class Bench:
    """A customer's server and an empty vault."""

    server: EphemeralServer
    store: ServedStore
    verbs: Verbs

    def back_up(self, *statements: str) -> Target:
        """Make a database by statements and back it up."""
        source = create(self.server, f"source{next(_numbers)}", *statements)
        self.verbs.backup(source)
        return source

    def prove(self, registration: Registration | None = None, upgrade_to: int | None = None) -> VerifyResult:
        """Verify the newest backup."""
        return self.verbs.verify(registration=registration, upgrade_to=upgrade_to)

    def restore(self) -> tuple[Target, RestoreResult]:
        """Restore the newest backup with exceptions into a new database."""
        wanted = target(self.server, f"restored{next(_numbers)}")
        return wanted, self.verbs.restore(wanted, exceptions="accept")

    def new_database(self) -> Target:
        """A name that no database has yet."""
        return target(self.server, f"restored{next(_numbers)}")


@pytest.fixture
def bench(server: EphemeralServer, postgres_root: Path, scratch_root: Path) -> Iterator[Bench]:
    with ServedStore() as store:
        yield Bench(server, store, Verbs(store, postgres_root, scratch_root))


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


def found(findings: list[Finding]) -> dict[str, int | None]:
    """The exceptions' codes with their counts."""
    return {item.code: item.count for item in findings if item.code.startswith("exception-")}
