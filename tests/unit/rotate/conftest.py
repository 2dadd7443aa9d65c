"""A vault and a catalogue in memory and a clock: a rotation from end to end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from coffre.catalogue.index import Catalogue
from coffre.databases.registration import Retention
from coffre.events.base import Verdict, parse
from coffre.events.rotate import HoldRequest
from coffre.ids import backup_id
from coffre.results import HoldResult, RotateReport, Sample
from coffre.rotate import hold
from coffre.rotate.run import Services, run
from coffre.vault.evidence import newest_evidence
from coffre.vault.layout import Layout
from coffre.vault.manifest import Manifest
from coffre.vault.parts import Chunk
from coffre.vault.reader import load_manifest, read_part
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.store import FailingStore
from tests.fakes.vault import DATABASE, put_backup, put_evidence

ONE = Retention(hourly=0, daily=0, weekly=0, monthly=0, keep_last=1)
LAYOUT = Layout(DATABASE)


class Heard:
    """A publisher that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def publish(self, detail_type: str, detail: Any) -> None:
        self.events.append((detail_type, detail))


class World:
    """A vault, a catalogue, a clock."""

    def __init__(self) -> None:
        self.store = FailingStore()
        self.heard = Heard()
        self.catalogue = Catalogue(MemoryDynamo(), "table", lambda: self.store.now)
        self.services = Services(
            self.store,
            self.catalogue,
            self.heard,  # type: ignore[arg-type]
            6 * 3600,
            lambda: self.store.now,
        )

    def backup(self, texts: list[str], database: str = DATABASE, kind: Any = "hourly") -> Manifest:
        """A backup of these rows, in the catalogue as well."""
        name = backup_id(database, kind, self.store.now)
        manifest, root = put_backup(self.store, name, [f"{t}\n".encode() for t in texts], database=database)
        self.catalogue.complete(manifest, root)
        return manifest

    def evidence(self, manifest: Manifest, verdict: Verdict, sample: Sample | None = None) -> None:
        """Record a verification of now."""
        _, root = load_manifest(self.store, manifest.database, manifest.id)
        self.catalogue.verdict(put_evidence(self.store, manifest, root, verdict, self.store.now, sample))

    def verdict(self, manifest: Manifest) -> str | None:
        """What the vault says of a backup by now; the catalogue must say the same."""
        _, root = load_manifest(self.store, manifest.database, manifest.id)
        found = newest_evidence(self.store, manifest.database, manifest.id, root)
        entry = self.catalogue.backup(manifest.database, manifest.id)
        assert entry is not None
        assert entry.verdict == (found.verdict if found else None)
        return entry.verdict

    def rotate(self, *, dry_run: bool = False, retention: Retention = ONE) -> RotateReport:
        """One rotation of the one database."""
        result = run({DATABASE: retention}, self.services, dry_run=dry_run, seconds=600)
        assert result.failed == {}
        return result.reports[0]

    def failure(self) -> str:
        """The error of a rotation that fails."""
        result = run({DATABASE: ONE}, self.services, dry_run=False, seconds=600)
        return result.failed[DATABASE]

    def hold(self, action: str, manifest: Manifest, **event: Any) -> HoldResult:
        """Hold a backup, or release it."""
        given = {"action": action, "database": manifest.database, "backup_id": manifest.id, **event}
        return hold.run(parse(HoldRequest, given), self.services, seconds=60)

    def chunks(self, manifest: Manifest) -> list[Chunk]:
        """The chunks of a backup."""
        return [r for part in manifest.parts for r in read_part(self.store, part) if isinstance(r, Chunk)]

    def contents(self) -> list[object]:
        """Every version and marker of the bucket."""
        return list(self.store.versions(""))

    def pass_days(self, days: float) -> None:
        """Let time pass."""
        self.store.now += timedelta(days=days)


@pytest.fixture
def world() -> World:
    """A fresh world."""
    return World()
