"""A deployment, or its undoing, while a backup goes on: its functions are of another version than before."""

from __future__ import annotations

import pytest

from coffre.backup.abort import DEPLOYMENT
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import RunOfAnotherVersionError
from tests.faults.cases import nobody_is_left
from tests.faults.machine import STEPS, Machine
from tests.faults.world import DATABASE, World
from tests.support.versions import OTHERS, begun_by_another


@pytest.mark.parametrize("version", OTHERS.values(), ids=OTHERS.keys())
def test_a_backup_that_another_version_began_is_begun_anew_wherever_that_is_noticed(
    world: World, server: EphemeralServer, source: Target, version: int | None
) -> None:
    """Nothing that the other version left is read, and nothing of it stays in the way."""
    empty = world.state()
    for step in STEPS:
        world.reset(empty)
        machine = Machine(world, source, "arn:deployed")
        machine.run = machine.run.model_copy(update={"tries": 1})
        ledger = world.catalogue.ledger(DATABASE, machine.run.attempt)
        for before in STEPS[: max(1, STEPS.index(step))]:
            machine.do(before)
            if before == "prepare":
                machine.hold()
        begun_by_another(ledger, version)
        with pytest.raises(RunOfAnotherVersionError) as error:
            machine.do(step)
        answer = machine.abort({"Error": type(error.value).__name__, "Cause": str(error.value)})
        assert (answer.go, answer.wait) == (True, DEPLOYMENT), step
        assert world.catalogue.lease(DATABASE) is None, step
        assert not list(world.catalogue.live_runs(DATABASE)), step
        assert (world.status(machine.run.backup_id), world.backups()) == ("in_progress", []), step
        machine._let_go()  # as the holder does
        assert nobody_is_left(server), step
        machine.go()
        manifest = world.manifest(machine.run.backup_id)
        assert manifest is not None
        assert manifest.attempt == machine.run.attempt, step
