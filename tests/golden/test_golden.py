"""Archives of every released format, of every source: later versions read, prove and restore them equal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.vault.manifest import CAPABILITIES
from coffre.vault.reader import list_backups
from tests.golden.content import content
from tests.support.postgres import customer_server, target
from tests.support.vault import DATABASE, ServedStore, Verbs, fill

ARCHIVES = sorted(Path(__file__).parent.glob("format*/*"))
RESTORES = [(archive, major) for archive in ARCHIVES for major in (16, 18) if major >= int(archive.name[-2:])]


def name(value: object) -> str:
    return f"{value.parent.name}-{value.name}" if isinstance(value, Path) else f"into-{value}"


@pytest.fixture
def store() -> Iterator[ServedStore]:
    with ServedStore() as store:
        yield store


def test_there_are_archives_of_all_that_a_backup_may_require() -> None:
    names = {f"{archive.parent.name}/{archive.name}" for archive in ARCHIVES}
    assert {f"format1/{name}" for name in ("postgresql16", "postgresql18")} <= names
    required = {
        capability
        for archive in ARCHIVES
        for path in archive.glob("vault/*/backups/*/manifest.json")
        for capability in json.loads(path.read_text())["requires"]
    }
    assert required == CAPABILITIES


def test_archives_stay_small() -> None:
    files = [path for archive in ARCHIVES for path in archive.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 320_000


@pytest.mark.parametrize("archive", ARCHIVES, ids=name)
def test_an_archive_is_proven(
    archive: Path, store: ServedStore, postgres_root: Path, scratch_root: Path
) -> None:
    fill(store, archive / "vault")
    assert len(list(list_backups(store, DATABASE))) == 1
    verbs = Verbs(store, postgres_root, scratch_root)
    result = verbs.verify()
    assert [reason.message for reason in result.reasons] == []
    assert result.verdict == "proven"
    totals = verbs.keys.load(store, DATABASE, "latest")[0].totals
    loaded_through_roots = totals.relations > 1  # two leaves of one tree are compared as one
    assert result.compared.tables == totals.relations - loaded_through_roots
    assert (result.compared.rows, result.compared.sequences) == (totals.rows, totals.sequences)


@pytest.mark.parametrize(("archive", "major"), RESTORES, ids=name)
def test_an_archive_is_restored_equal(
    archive: Path, major: int, store: ServedStore, postgres_root: Path, scratch_root: Path
) -> None:
    fill(store, archive / "vault")
    with customer_server(postgres_root, major, scratch_root) as server:
        wanted = target(server, "again")
        Verbs(store, postgres_root, scratch_root).restore(wanted)
        assert content(wanted) == json.loads((archive / "content.json").read_text())
