"""A hold that is confirmed keeps its backup, whatever a rotation does at the same time, or dies of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from coffre.errors import CoffreError, DeleteRefusedError, StoreUnavailableError, UnknownBackupError
from coffre.rotate.run import run
from coffre.vault.locate import fetch
from coffre.vault.notes import Hold, write_note
from coffre.vault.reader import list_backups
from tests.fakes.vault import DATABASE
from tests.unit.rotate.conftest import LAYOUT, ONE, World

OPERATIONS = ("put_new", "get", "head", "objects", "versions", "mark_deleted", "delete_version")


class Scene:
    """Two backups, the older of which goes with the next rotation; something happens meanwhile.

    Attributes
    ----------
    at:
        What happens just before the store's call of a number, counted from `act`.
    calls:
        How many calls there were, those of what happened left out.
    """

    def __init__(self) -> None:
        self.world = World()
        self.store = self.world.store
        self.old = self.world.backup(["shared", "only old"])
        self.store.advance(hours=8)
        self.world.backup(["shared", "only new"])
        self.chunks = self.world.chunks(self.old)
        self.at: dict[int, list[Callable[[], Any]]] = {}
        self.calls = 0
        self.confirmed = False

    def act(self, what: Callable[[], Any]) -> None:
        """Do something, well or not, while the other things happen."""
        meet, busy = self.store._meet, False

        def met(operation: str, key: str) -> None:
            nonlocal busy
            if not busy:
                busy, happens = True, self.at.get(self.calls, ())
                self.calls += 1
                for step in happens:
                    step()
                busy = False
            meet(operation, key)

        self.store._meet = met  # type: ignore[method-assign]
        what()
        self.store._meet = meet  # type: ignore[method-assign]

    def rotate(self) -> None:
        """Rotate, well or not."""
        run({DATABASE: ONE}, self.world.services, dry_run=False, seconds=600)

    def hold(self) -> None:
        """Hold the old backup, which is confirmed or not."""
        try:
            self.confirmed = bool(self.world.hold("hold", self.old).holds)
        except CoffreError:
            self.confirmed = False

    def write(self) -> None:
        """The first half of a hold."""
        write_note(self.store, LAYOUT, self.old.id, "hold", Hold(), self.store.now)

    def look(self) -> None:
        """The second one."""
        self.confirmed = self.store.head(LAYOUT.manifest(self.old.id)) is not None

    def die(self) -> None:
        """The function is killed: nothing that it asks the store for is done any more."""
        for operation in OPERATIONS:
            self.store.fail(operation, StoreUnavailableError("killed"))

    def is_there(self) -> bool:
        """Whether the old backup can be seen."""
        return self.old.id in list(list_backups(self.store, DATABASE))

    def check(self, why: str, *, killed: bool = False) -> None:
        """A backup whose hold was confirmed is there, and whole after all that later rotations do."""
        self.store.heal()
        assert killed or self.is_there() or not self.confirmed, why
        for _ in range(3):
            self.store.advance(hours=8)
            self.rotate()
        entry = self.world.catalogue.backup(DATABASE, self.old.id)
        assert entry is not None
        there = self.is_there()
        assert entry.status == ("completed" if there else "deleted"), why
        assert there or not self.confirmed, why
        for chunk in self.chunks if there else ():
            fetch(self.store, chunk.key, size=chunk.stored, sha256=chunk.sha256).close()


def calls_of(act: Callable[[Scene], None]) -> int:
    """How many calls to the store something makes that nothing interrupts."""
    scene = Scene()
    scene.act(partial(act, scene))
    return scene.calls


def test_a_hold_at_any_moment_of_a_rotation_is_refused_or_keeps_the_backup() -> None:
    answers = set()
    for number in range(calls_of(Scene.rotate)):
        scene = Scene()
        scene.at[number] = [scene.hold]
        scene.act(scene.rotate)
        answers.add(scene.confirmed)
        scene.check(f"held before call {number} of the rotation")
    assert answers == {True, False}


def test_a_rotation_at_any_moment_of_a_hold_refuses_it_or_keeps_the_backup() -> None:
    for number in range(calls_of(Scene.hold)):
        scene = Scene()
        scene.at[number] = [scene.rotate]
        scene.act(scene.hold)
        scene.check(f"rotated before call {number} of the hold")


def test_a_hold_whose_halves_come_at_any_two_moments_keeps_the_backup_if_it_saw_it() -> None:
    total = calls_of(Scene.rotate)
    for written in range(total):
        for looked in range(written, total):
            scene = Scene()
            scene.at[written] = [scene.write]
            scene.at.setdefault(looked, []).append(scene.look)
            scene.act(scene.rotate)
            scene.check(f"written before call {written}, looked before call {looked}")


def test_a_rotation_that_is_killed_at_any_moment_purges_nothing_that_was_held_before() -> None:
    """The hold may have come between the first look and the marker, and no second look been taken."""
    total = calls_of(Scene.rotate)
    for held in range(total):
        for killed in range(held + 1, total):
            scene = Scene()
            scene.at[held], scene.at[killed] = [scene.hold], [scene.die]
            scene.act(scene.rotate)
            scene.check(f"held before call {held}, killed before call {killed}", killed=True)


def test_a_deletion_that_a_hold_takes_back_is_reported_as_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = world.backup(["shared", "only old"])
    world.store.advance(hours=8)
    new = world.backup(["shared", "only new"])
    mark = world.store.mark_deleted

    def hold_and_mark(key: str) -> None:
        if key == LAYOUT.manifest(old.id):
            write_note(world.store, LAYOUT, old.id, "hold", Hold(reason="audit"), world.store.now)
        mark(key)

    monkeypatch.setattr(world.store, "mark_deleted", hold_and_mark)
    report = world.rotate()
    found = {decision.backup_id: decision for decision in report.decisions}
    assert {name: decision.action for name, decision in found.items()} == {new.id: "keep", old.id: "keep"}
    assert found[old.id].reasons == ["held: hold of 2026-11-20T11:00:00.000000Z (audit)"]
    assert (found[old.id].frees_bytes, report.marked_chunks) == (0, 0)
    assert not [version for version in world.store.versions(LAYOUT.backups) if version.marker]
    assert {entry.action for entry in world.catalogue.audits(DATABASE)} == {"delete", "keep"}
    [(_, detail)] = world.heard.events
    assert (detail["deleted"], detail["kept"]) == ([], 2)


def hidden(world: World, *, held: bool = True) -> Any:
    """A backup that a rotation hid before it died."""
    old = world.backup(["shared", "only old"])
    world.store.advance(hours=8)
    world.backup(["shared", "only new"])
    if held:
        world.hold("hold", old)
    world.store.mark_deleted(LAYOUT.manifest(old.id))
    return old


def test_a_dry_run_says_that_a_hidden_backup_comes_back_and_leaves_it_hidden(world: World) -> None:
    old = hidden(world)
    world.catalogue.delete(DATABASE, old.id)
    dry = world.rotate(dry_run=True)
    assert {decision.backup_id: decision.action for decision in dry.decisions}[old.id] == "keep"
    assert world.store.head(LAYOUT.manifest(old.id)) is None
    assert world.rotate().model_copy(update={"dry_run": True}) == dry
    assert world.store.head(LAYOUT.manifest(old.id)) is not None
    entry = world.catalogue.backup(DATABASE, old.id)
    assert entry is not None
    assert (entry.status, entry.deleted) == ("completed", None)


def test_what_is_hidden_and_not_held_stays_hidden(world: World) -> None:
    old = hidden(world, held=False)
    world.rotate()
    assert world.store.head(LAYOUT.manifest(old.id)) is None


def test_a_manifest_that_can_not_be_read_stays_hidden_whatever_holds_it(world: World) -> None:
    """Its owner hides it so that rotations go on, and nobody could restore the backup."""
    key = LAYOUT.manifest(hidden(world).id)
    [body] = [version for version in world.store.versions(key) if not version.marker]
    world.store.put(key, b"{")
    world.store.delete_version(key, body.version)
    world.store.mark_deleted(key)
    world.rotate()
    assert world.store.head(key) is None


def test_a_marker_that_the_store_keeps_is_an_error(world: World) -> None:
    old = hidden(world)
    world.store.fail("delete_version", DeleteRefusedError("locked"), containing="manifest.json")
    assert LAYOUT.manifest(old.id) in world.failure()


def test_a_hold_that_comes_too_late_says_that_it_brings_the_backup_back() -> None:
    scene = Scene()
    scene.at[1] = [lambda: scene.store.mark_deleted(LAYOUT.manifest(scene.old.id))]

    def hold() -> None:
        with pytest.raises(UnknownBackupError, match="a rotation brings it back"):
            scene.world.hold("hold", scene.old)

    scene.act(hold)
    scene.rotate()
    assert scene.is_there()
