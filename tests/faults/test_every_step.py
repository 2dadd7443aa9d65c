"""Every call of every function of the backup's state machine fails once, and nothing is ever lost.

Like ``test_every_call``: a sample by seed, or all with ``COFFRE_FAULTS=all``.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from coffre.backup import paperwork, plan
from coffre.backup.abort import TRIES, clean_up
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import BackupStoppedError, StoreUnavailableError
from coffre.events.backup import MachineEnded
from tests.faults.cases import FIRST, Told, cases, clean_scratch, nobody_is_left
from tests.faults.injection import Way
from tests.faults.machine import STEPS, Machine
from tests.faults.world import DATABASE, World
from tests.support.postgres import sql


def test_a_backup_on_the_state_machine_loses_nothing_whichever_call_fails(
    world: World, server: EphemeralServer, source: Target
) -> None:
    """A worker that is killed at any point, or whose batch is done twice, costs nothing but time."""
    old = world.backup(source, FIRST).backup_id
    sql(source, "UPDATE goods SET name = 'sold' WHERE id = 7")
    before, kept = world.state(), world.versions()
    machine = Machine(world, source, "arn:first")
    machine.go()
    new = machine.run.backup_id
    whole = {name: world.content(name) for name in (old, new)}
    calls = [(step, number) for step in STEPS for number in range(machine.calls[step])]
    told, executions = Told("backup on the state machine"), itertools.count(1)
    for case, way in cases(len(calls), 12):
        step, number = calls[case]
        world.reset(before)
        machine = Machine(world, source, f"arn:{next(executions)}")
        outcome = machine.go(step, number, way)
        hit = f"{way} of call {number} of {step}: {world.injector.hit}"
        told.count(outcome)
        assert kept.items() <= world.versions().items(), hit
        assert world.content(old) == whole[old], hit
        # No backup, or a whole one; and nobody says otherwise.
        exists = world.manifest(new) is not None
        assert not exists or world.content(new) == whole[new], hit
        assert exists or world.status(new) == "failed", hit
        assert exists or (way.kills and step != "capture"), hit
        # Nothing is held any more, however it ended.
        assert world.catalogue.lease(DATABASE) is None, hit
        assert not list(world.catalogue.live_runs(DATABASE)), hit
        assert nobody_is_left(server), hit
        clean_scratch(world, outcome)
        # Whoever asks again gets it, and the manifest's event puts the catalogue right.
        Machine(world, source, f"arn:{next(executions)}").go()
        assert world.content(new) == whole[new], hit
        assert world.verify(new).verdict == "proven", hit
        assert (world.status(new), world.backups()) == ("completed", [old, new]), hit
    told.print(len(calls))


def test_a_commit_that_broke_off_and_is_done_again_tells_of_the_backup(world: World, source: Target) -> None:
    """It may have broken off between the manifest and all that is told of it."""
    machine = Machine(world, source, "arn:one")
    machine.run = machine.run.model_copy(update={"tries": 1})
    for step in STEPS[:-1]:
        machine.do(step)
        if step == "prepare":
            machine.hold()
    read = world.state()
    world.attempt(lambda: machine.do("commit"), -1, Way.ERROR)
    told = Told("commit")
    for number, way in cases(calls := len(world.injector.calls), 12):
        world.reset(read)
        outcome = world.attempt(lambda: machine.do("commit"), number, way)
        hit = f"{way} of call {number}: {world.injector.hit}"
        world.injector.disarm()
        if outcome.result is None:
            machine.do("commit")
        told.count(outcome)
        assert world.status(machine.run.backup_id) == "completed", hit
        assert {event["DetailType"] for event in world.events.entries} == {"Backup Completed"}, hit
        assert world.catalogue.lease(DATABASE) is None, hit
    told.print(calls)


def test_an_execution_that_is_stopped_before_its_first_step_begins_leaves_no_lease(
    world: World, source: Target
) -> None:
    """The function starts although nobody waits for it any more; who cleaned up was there before it."""
    machine = Machine(world, source, "arn:stopped")
    ended = machine.run.model_dump(exclude={"tries"})
    machine.run = machine.run.model_copy(update={"tries": 1})
    clean_up(world.backup_services(), MachineEnded(**ended, status="ABORTED"))
    world.executions_ended.add("arn:stopped")
    with pytest.raises(BackupStoppedError):
        machine.do("prepare")
    assert world.catalogue.lease(DATABASE) is None
    assert not list(world.catalogue.live_runs(DATABASE))
    assert world.status(machine.run.backup_id) == "failed"
    (event,) = world.events.entries
    assert json.loads(event["Detail"])["code"] == "backup-stopped"


@pytest.mark.parametrize("tries", [1, TRIES])
def test_an_attempt_that_is_given_up_lets_go_tells_and_is_tried_again_whichever_call_fails(
    world: World, source: Target, tries: int
) -> None:
    """The machine gives it up again; the answer is the one that the first time would have had."""
    machine = Machine(world, source, "arn:one")
    machine.run = machine.run.model_copy(update={"tries": tries})
    machine.do("prepare")
    begun, again = world.state(), tries < TRIES

    def give_up() -> Any:
        return machine.abort({"Error": "SnapshotLostError", "Cause": "[snapshot-lost] it is gone"})

    world.attempt(give_up, -1, Way.ERROR)
    told = Told(f"attempt {tries}")
    for number, way in cases(calls := len(world.injector.calls), 30):
        world.reset(begun)
        outcome = world.attempt(give_up, number, way)
        hit = f"{way} of call {number}: {world.injector.hit}"
        world.injector.disarm()
        answer = outcome.result or give_up()
        told.count(outcome)
        assert (answer.go, answer.wait) == (again, 60), hit
        assert world.catalogue.lease(DATABASE) is None, hit
        assert not list(world.catalogue.live_runs(DATABASE)), hit
        assert world.status(machine.run.backup_id) == ("in_progress" if again else "failed"), hit
        codes = [json.loads(event["Detail"])["code"] for event in world.events.entries]
        assert set(codes) == (set() if again else {"snapshot-lost"}), hit
    told.print(calls)


def test_a_plan_that_broke_off_and_is_made_again_reads_each_table_once(
    world: World, source: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is in use: its largest table is another one by then, and batches go by size."""
    monkeypatch.setattr(plan, "PIECE_BYTES", 1 << 13)  # a batch for each table
    machine = Machine(world, source, "arn:one")
    machine.run = machine.run.model_copy(update={"tries": 1})
    machine.do("prepare")
    machine.hold()
    write = paperwork.write_batch

    def break_off(*given: Any) -> None:
        if "000002" in given:
            raise StoreUnavailableError("nobody hears of it")
        write(*given)

    with monkeypatch.context() as broken:
        broken.setattr(paperwork, "write_batch", break_off)
        with pytest.raises(StoreUnavailableError):
            machine.do("plan")
    sql(source, "INSERT INTO sales SELECT 1, now() FROM generate_series(1, 9000)")
    planned = machine.do("plan")
    assert machine.do("plan") == planned
    for one in json.loads(world.store.read(planned.batches_key, limit=1 << 20)):
        machine.do("capture", one["batch"])
    machine.do("release")
    assert machine.do("commit").status == "completed"
    found = world.content(machine.run.backup_id)
    assert (found["public.goods"][0], found["public.sales"][0]) == (300, 200)
