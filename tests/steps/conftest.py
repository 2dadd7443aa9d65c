"""The actors of the story: a PostgreSQL server with a shop on it, and what the steps tell each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from tests.support.postgres import create, customer_server, dumped, target, url
from tests.support.stack import Stack


@dataclass
class Story:
    """What one step leaves for the next ones.

    Attributes
    ----------
    server:
        The customer's server; the shop's database on it is called ``shop``.
    """

    stack: Stack
    server: EphemeralServer
    tools: Path
    _told: dict[str, Any] = field(default_factory=dict, repr=False)

    def tell(self, name: str, value: Any) -> None:
        """Leave something for later steps."""
        self._told[name] = value

    def told(self, name: str) -> Any:
        """What an earlier step left; if it did not come so far, this step can't start."""
        if name not in self._told:
            pytest.skip(f"an earlier step did not leave {name!r}")
        return self._told[name]

    def url(self, database: str) -> str:
        """The URL of a database on the customer's server."""
        return url(self.server, database)

    def content(self, database: str) -> list[str]:
        """A database as pg_dump shows it."""
        return dumped(self.tools, target(self.server, database))


@pytest.fixture(scope="module")
def story(stack: Stack, postgres_root: Path, scratch_root: Path) -> Iterator[Story]:
    """The stage, before the first step."""
    with customer_server(postgres_root, 16, scratch_root) as server:
        create(server, "shop", (Path(__file__).parent / "shop.sql").read_text())
        yield Story(stack, server, postgres_root)
