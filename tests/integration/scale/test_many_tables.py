"""Chunks are the same, whoever reads: one function, or the workers of a state machine."""

from __future__ import annotations

from pathlib import Path

from coffre.backup.plan import SHARED_FROM, SHARED_LEAST
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.vault.manifest import Manifest
from tests.faults.cases import FIRST
from tests.faults.machine import Machine
from tests.faults.world import World
from tests.support.postgres import create

MANY = f"""
DO $$ BEGIN FOR i IN 1 .. {SHARED_FROM + 10} LOOP
    EXECUTE format('CREATE TABLE t_%s AS SELECT n, %s AS m FROM generate_series(0, %s) AS n', i, i, i % 3);
END LOOP; END $$
"""


OBJECTS = """
SELECT lo_from_bytea(5000 + i, string_agg(sha256(convert_to(i || '/' || n, 'UTF8')), ''))
FROM generate_series(1, 40) i, generate_series(1, 16000) n GROUP BY i
"""


def twice(world: World, source: Target, execution: str) -> tuple[Manifest, Manifest]:
    """What a backup in one function says of itself, and one on the state machine after it."""
    first = world.manifest(world.backup(source, FIRST).backup_id)
    machine = Machine(world, source, execution)
    machine.go()
    second = world.manifest(machine.run.backup_id)
    assert first is not None
    assert second is not None
    assert first.totals.new_chunks == first.totals.chunks
    assert second.totals.new_chunks == 0
    assert world.content(second.id) == world.content(first.id)
    assert world.verify(second.id).verdict == "proven"
    return first, second


def test_what_one_function_stored_the_state_machine_does_not_store_again(
    server: EphemeralServer, postgres_root: Path, scratch_root: Path
) -> None:
    for manifest in twice(World(postgres_root, scratch_root), create(server, "many", MANY), "arn:many"):
        assert "slices" in manifest.requires
        assert 1 < manifest.totals.chunks <= SHARED_FROM / SHARED_LEAST


def test_nor_does_it_store_large_objects_again(
    server: EphemeralServer, postgres_root: Path, scratch_root: Path
) -> None:
    source = create(server, "objects", OBJECTS, "CREATE TABLE t AS SELECT 1 AS one")
    for manifest in twice(World(postgres_root, scratch_root), source, "arn:objects"):
        assert (manifest.totals.large_objects, manifest.totals.rows) == (40, 1)
