"""A backup whose workers wrote more parts than a manifest can name is as good as any other."""

from __future__ import annotations

from datetime import timedelta

import pytest

from coffre.backup import joining
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from tests.faults.machine import Machine
from tests.faults.world import World
from tests.support.postgres import target


def test_parts_are_joined_until_a_manifest_can_name_them_and_rotation_takes_the_others(
    world: World, source: Target, server: EphemeralServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "MOST_PARTS", 2)
    machine = Machine(world, source, "arn:hurried")
    machine.reading_seconds = 0.001  # each worker reads a page or two
    assert machine.go().error is None
    name = machine.run.backup_id
    written = {key for key in world.store.keys() if "/parts/" in key}  # noqa: SIM118 - not a mapping
    manifest = world.manifest(name)
    assert manifest is not None
    named = {part.key for part in manifest.parts}
    assert len(named) == 1 + joining.MOST_PARTS < len(written - named)
    for _ in ("hidden", "deleted"):
        world.offset += timedelta(days=2)
        world.rotate()
    assert {key for key, _ in world.versions() if "/parts/" in key} == named
    assert world.verify(name).verdict == "proven"
    assert world.restore(target(server, "joined"), name).digests_equal
