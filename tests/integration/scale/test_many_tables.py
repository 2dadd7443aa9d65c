"""Chunks are the same, whoever reads: one function, or the workers of a state machine."""

from __future__ import annotations

from pathlib import Path

from coffre.backup.plan import SHARED_FROM, SHARED_LEAST
from coffre.databases.postgresql.server import EphemeralServer
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


def test_of_large_objects_too_the_state_machine_stores_none_again(
    server: EphemeralServer, postgres_root: Path, scratch_root: Path
) -> None:
    source = create(server, "objects", OBJECTS, "CREATE TABLE t AS SELECT 1 AS one")
    world = World(postgres_root, scratch_root)
    first = world.manifest(world.backup(source, FIRST).backup_id)
    machine = Machine(world, source, "arn:objects")
    machine.go()
    second = world.manifest(machine.run.backup_id)
    assert first is not None
    assert second is not None
    assert second.totals.new_chunks == 0
    assert second.totals.large_objects == 40
    assert second.totals.rows == first.totals.rows == 1
    assert world.content(second.id) == world.content(first.id)
    assert world.verify(second.id).verdict == "proven"


def test_what_one_function_stored_the_state_machine_does_not_store_again(
    server: EphemeralServer, postgres_root: Path, scratch_root: Path
) -> None:
    source = create(server, "many", MANY)
    world = World(postgres_root, scratch_root)
    first = world.manifest(world.backup(source, FIRST).backup_id)
    machine = Machine(world, source, "arn:many")
    machine.go()
    second = world.manifest(machine.run.backup_id)
    assert first is not None
    assert second is not None
    for manifest in (first, second):
        assert "slices" in manifest.requires
        assert 1 < manifest.totals.chunks <= SHARED_FROM / SHARED_LEAST
    assert first.totals.new_chunks == first.totals.chunks
    assert second.totals.new_chunks == 0
    assert world.content(second.id) == world.content(first.id)
    assert world.verify(second.id).verdict == "proven"
