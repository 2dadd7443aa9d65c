"""A backup of another database, or of much less, is told from one of the same."""

from __future__ import annotations

import pytest

from coffre.vault.keys import SealKeys
from coffre.vault.likeness import differences
from coffre.vault.manifest import Manifest
from coffre.vault.sealed_manifest import close_manifest
from coffre.vault.sealing import Sealed
from tests.fakes.kms import KEY, MemoryKms
from tests.fakes.store import START, MemoryStore
from tests.fakes.vault import put_backup

FIRST = "20261120T030000Z-daily-000001"


def backup(*, rows: int = 1000, size: int = 50_000, system: str = "6a1f", oid: int = 16384) -> Manifest:
    made, _ = put_backup(MemoryStore(), FIRST, [b"row\n"])
    return made.model_copy(
        update={
            "engine": made.engine.model_copy(update={"system_identifier": system, "database_oid": oid}),
            "totals": made.totals.model_copy(update={"rows": rows, "bytes": size}),
        }
    )


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (backup(), backup(), []),
        (backup(), backup(rows=500, size=25_000), []),
        (backup(), backup(rows=90_000, size=9_000_000), []),
        (backup(rows=99), backup(rows=1), []),
        (backup(rows=0, size=0), backup(rows=0, size=0), []),
        (backup(), backup(system="77"), ["comes from database 16384 of system 77, not from 16384 of 6a1f"]),
        (backup(), backup(oid=5), ["comes from database 5 of system 6a1f"]),
        (backup(), backup(rows=499), ["499 rows, the one before 1000"]),
        (backup(), backup(size=24_999), ["24999 bytes, the one before 50000"]),
        (backup(rows=7), backup(rows=0, size=0), ["no row, the one before 7"]),
    ],
)
def test_what_is_unlike_is_told(before: Manifest, now: Manifest, said: list[str]) -> None:
    found = differences(before, now)
    assert len(found) == len(said)
    assert all(text in finding.message for finding, text in zip(found, said, strict=True))


def closed(made: Manifest, seal: Sealed) -> Manifest:
    return close_manifest(made.model_copy(update={"seal": seal.key}), seal)


def test_sealed_backups_are_compared_by_their_size_and_by_a_keyed_hash_of_their_source() -> None:
    keys = SealKeys(lambda _: MemoryKms())
    first, second = (keys.for_backup(MemoryStore(), "shop", KEY, START) for _ in range(2))
    assert isinstance(first, Sealed)
    assert isinstance(second, Sealed)
    before = closed(backup(), first)
    assert differences(before, closed(backup(rows=1), first)) == [], "rows are sealed"
    assert len(differences(before, closed(backup(size=100), first))) == 1
    assert len(differences(before, closed(backup(system="77"), first))) == 1
    assert differences(before, closed(backup(system="77"), second)) == [], "another key hashes otherwise"
    assert differences(backup(), before) == differences(before, backup()) == []
    assert "6a1f" not in before.engine.system_identifier
