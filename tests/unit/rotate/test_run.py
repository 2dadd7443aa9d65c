"""A rotation from end to end on a vault in memory and a catalogue in moto."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from coffre.errors import DeleteRefusedError, StoreUnavailableError
from coffre.ids import backup_id
from coffre.rotate.run import run
from coffre.vault.locate import fetch
from coffre.vault.reader import list_backups
from tests.fakes.vault import DATABASE, commit, prepare, put_backup, put_chunk, put_evidence, put_object
from tests.unit.rotate.conftest import LAYOUT, ONE, World


def test_a_superseded_backup_goes_and_its_own_chunks_after_it(world: World) -> None:
    old = world.backup(["shared", "only old"])
    world.store.advance(hours=8)
    new = world.backup(["shared", "only new"])
    first = world.rotate()
    assert [(d.backup_id, d.action) for d in first.decisions] == [(new.id, "keep"), (old.id, "delete")]
    assert (first.marked_chunks, first.purged_chunks, first.orphans) == (1, 0, 0)
    entry = world.catalogue.backup(DATABASE, old.id)
    assert entry is not None
    assert entry.status == "deleted"
    world.store.advance(hours=7)
    assert world.rotate().waiting_chunks == 1, "not before the longest run and one hour have passed"
    world.store.advance(seconds=1)
    assert world.rotate().purged_chunks == 1
    assert {v.key for v in world.store.versions(LAYOUT.chunks)} == {c.key for c in world.chunks(new)}
    assert not list(world.store.versions(LAYOUT.backup(old.id)))


def test_a_dry_run_says_what_the_run_does_and_changes_nothing(world: World) -> None:
    old = world.backup(["shared", "only old"])
    world.store.advance(hours=8)
    world.backup(["shared", "only new"])
    before = world.contents()
    dry = world.rotate(dry_run=True)
    assert world.contents() == before
    assert list(world.catalogue.audits(DATABASE)) == []
    assert world.heard.events == []
    assert dry.model_copy(update={"dry_run": False}) == world.rotate()
    freed = {d.backup_id: d.frees_bytes for d in dry.decisions}
    assert freed[old.id] == dry.marked_bytes > 0


def test_every_deletion_is_in_the_audit_trail_with_its_reason(world: World) -> None:
    old = world.backup(["old"])
    world.store.advance(hours=8)
    world.backup(["new"])
    world.rotate()
    [entry] = world.catalogue.audits(DATABASE)
    assert (entry.action, entry.subject) == ("delete", old.id)
    assert entry.details["reasons"].startswith("superseded")
    [(kind, detail)] = world.heard.events
    assert (kind, detail["deleted"], detail["kept"]) == ("Rotation Completed", [old.id], 1)


def test_the_last_proven_backup_survives_any_number_of_bad_ones(world: World) -> None:
    """C01: the verdict is read from the bucket's evidence, so an empty catalogue doesn't change it."""
    name = backup_id(DATABASE, "hourly", world.store.now)
    good, root = put_backup(world.store, name, [b"good\n"])
    put_evidence(world.store, good, root, "proven")
    for number in range(4):
        world.store.advance(hours=8)
        bad, root = put_backup(
            world.store, backup_id(DATABASE, "hourly", world.store.now), [f"{number}\n".encode()]
        )
        put_evidence(world.store, bad, root, "failed" if number % 2 else "inconclusive")
        world.rotate()
    assert good.id in list(list_backups(world.store, DATABASE))


@pytest.mark.parametrize("operation", ["mark_deleted", "delete_version", "versions", "objects", "get"])
@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_a_rotation_that_breaks_off_is_finished_by_the_next(world: World, operation: str, after: int) -> None:
    """C03: the manifest goes first; whatever breaks, the kept backup is whole and the rest goes later."""
    world.backup(["shared", "only old"])
    world.store.advance(hours=8)
    new = world.backup(["shared", "only new"])
    world.store.fail(operation, StoreUnavailableError("the store is down"), after=after)
    for _ in range(3):
        run({DATABASE: ONE}, world.services, dry_run=False, seconds=600)
        world.store.advance(hours=7, seconds=1)
    world.store.heal()
    for _ in range(3):
        world.rotate()
        world.store.advance(hours=7, seconds=1)
    assert list(list_backups(world.store, DATABASE)) == [new.id]
    needed = {c.key for c in world.chunks(new)}
    assert (
        {v.key for v in world.store.versions(LAYOUT.chunks)} == needed == set(world.store.keys(LAYOUT.chunks))
    )


def test_a_manifest_goes_before_anything_it_names(world: World) -> None:
    """C03: there is no moment at which a backup can be seen that isn't whole."""
    old = world.backup(["only old"])
    world.store.advance(hours=8)
    world.backup(["new"])
    world.rotate()
    marked = [key for operation, key in world.store.calls if operation == "mark_deleted"]
    assert marked[0] == LAYOUT.manifest(old.id)
    assert len(marked) > 1


def test_a_database_never_touches_another_whose_name_begins_like_its_own(world: World) -> None:
    """C06: `shop` and `shop-prod` share nothing."""
    world.backup(["old"])
    world.backup(["other"], database="shop-prod")
    world.store.advance(hours=8)
    world.backup(["new"])
    before = list(world.store.versions("shop-prod"))
    for _ in range(3):
        world.rotate()
        world.store.advance(hours=8)
    assert list(world.store.versions("shop-prod")) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-40],
        lambda body: body.replace(b'"format": 1', b'"format": 2'),
        lambda body: body[:0],
    ],
    ids=["cut", "unknown version", "empty"],
)
def test_a_manifest_that_cannot_be_read_stops_the_rotation_of_its_database(world: World, damage: Any) -> None:
    """B05: its references are unknown, so nothing at all is deleted, and the error names it."""
    world.backup(["old"])
    world.store.advance(hours=8)
    broken = world.backup(["broken"])
    world.store.advance(hours=8)
    world.backup(["new"])
    world.store.tamper(LAYOUT.manifest(broken.id), damage)
    before = world.contents()
    assert broken.id in world.failure()
    assert world.contents() == before


def test_a_broken_manifest_that_its_owner_hid_does_not_stop_the_rotation(world: World) -> None:
    """B05: the way out of a rotation that refuses; nobody can be restoring what can't be read."""
    broken = world.backup(["broken"])
    world.store.tamper(LAYOUT.manifest(broken.id), lambda body: body[:-40])
    world.store.mark_deleted(LAYOUT.manifest(broken.id))
    world.store.advance(hours=1)
    world.backup(["new"])
    assert [d.action for d in world.rotate().decisions] == ["keep"]


@pytest.mark.parametrize("harm", ["lost", "changed"])
def test_references_that_cannot_be_read_stop_the_sweep(world: World, harm: str) -> None:
    """B04: without a live backup's references no chunk may be called unused."""
    manifest = world.backup(["needed"])
    put_chunk(world.store, LAYOUT, b"unused\n")
    world.store.advance(hours=8)
    [refs] = manifest.refs
    if harm == "lost":
        world.store.lose(refs.key)
    else:
        world.store.tamper(refs.key, lambda body: bytes(len(body)))
    assert refs.key in world.failure()
    assert not [v for v in world.store.versions(LAYOUT.chunks) if v.marker]


def test_what_a_reader_began_to_restore_is_not_purged_under_it(world: World) -> None:
    """A chunk that was marked while its backup was on its way is there until the last reader must be done."""
    chunk = put_chunk(world.store, LAYOUT, b"reused\n")
    world.store.advance(hours=7)
    name = backup_id(DATABASE, "hourly", world.store.now)
    world.rotate()  # a run has seen the chunk, and now it is marked
    assert world.store.head(chunk.key) is None
    world.store.advance(hours=4)
    commit(world.store, prepare(world.store, name, [chunk]))
    world.store.mark_deleted(LAYOUT.manifest(name))  # a restore has just read the manifest
    world.store.advance(hours=4)
    assert world.rotate().purged_chunks == 0
    fetch(world.store, chunk.key, size=chunk.stored, sha256=chunk.sha256).close()
    world.store.advance(hours=4)
    assert world.rotate().purged_chunks == 1


def test_a_chunk_that_was_marked_although_it_is_needed_comes_back(world: World) -> None:
    manifest = world.backup(["needed"])
    [chunk] = world.chunks(manifest)
    world.store.mark_deleted(chunk.key)
    fetch(world.store, chunk.key, size=chunk.stored, sha256=chunk.sha256).close()
    world.store.advance(hours=8)
    world.rotate()
    assert world.store.head(chunk.key) is not None


def test_orphans_and_extra_files_go_and_what_is_not_ours_stays(world: World) -> None:
    """B06: only attempts' files are swept, and only when no run can still be writing them."""
    manifest = world.backup(["rows"])
    extra = f"{LAYOUT.attempt(manifest.id, manifest.attempt)}parts/9-extra"
    dead = f"{LAYOUT.attempt('20261119T030000Z-daily-0a0b0c', 'abcdefabcdef')}schema-x.pgdump"
    foreign = [f"{LAYOUT.backups}README", f"{LAYOUT.chunks}zz/hello", f"{LAYOUT.backup(manifest.id)}mine.txt"]
    for key in (extra, dead, *foreign):
        put_object(world.store, key, b"x")
    world.store.advance(hours=5)
    assert world.rotate().orphans == 0, "they may belong to a run that goes on"
    world.store.advance(hours=2)
    assert world.rotate().orphans == 2
    world.store.advance(hours=8)
    world.rotate()
    assert not list(world.store.versions(extra)) + list(world.store.versions(dead))
    assert all(world.store.head(key) for key in foreign)
    assert world.chunks(manifest)


def test_a_hold_keeps_a_backup(world: World) -> None:
    held = world.backup(["held"])
    put_object(world.store, f"{LAYOUT.notes(held.id)}20261120T040000Z-hold.json", b"{}")
    world.store.advance(hours=8)
    world.backup(["new"])
    decisions = {d.backup_id: d for d in world.rotate().decisions}
    assert decisions[held.id].reasons == ["held: hold of 20261120T040000Z"]


def test_a_version_under_object_lock_waits(world: World) -> None:
    put_chunk(world.store, LAYOUT, b"unused\n")
    world.store.advance(hours=7)
    world.rotate()
    world.store.advance(hours=8)
    world.store.fail("delete_version", DeleteRefusedError("locked"))
    assert (world.rotate().purged_chunks, world.rotate().waiting_chunks) == (0, 1)
    world.store.heal()
    assert world.rotate().purged_chunks == 1


def test_a_recorded_run_that_goes_on_makes_the_sweep_wait(world: World) -> None:
    put_chunk(world.store, LAYOUT, b"unused\n")
    world.store.advance(minutes=30)
    world.catalogue.start_run(DATABASE, "backup", "b1", world.store.now + timedelta(hours=20))
    world.store.advance(hours=8)
    assert world.rotate().marked_chunks == 0
    world.catalogue.end_run(DATABASE, "b1")
    assert world.rotate().marked_chunks == 1


def test_a_bucket_that_keeps_no_versions_is_not_rotated(world: World) -> None:
    """There a marker destroys what it hides, for instance a chunk that a running backup uses again."""
    world.store.kept = "Suspended"
    world.backup(["old"])
    world.pass_days(2)
    world.backup(["new"])
    before = world.contents()
    assert "doesn't keep versions" in world.failure()
    assert world.contents() == before
    world.store.kept = "Enabled"
    assert world.rotate().marked_chunks == 1


def test_out_of_time_leaves_the_rest_to_the_next_rotation(world: World) -> None:
    put_chunk(world.store, LAYOUT, b"unused\n")
    world.store.advance(hours=7)
    result = run({DATABASE: ONE}, world.services, dry_run=False, seconds=0)
    assert "next rotation" in result.failed[DATABASE]
    assert world.rotate().marked_chunks == 1


def test_one_database_that_fails_does_not_stop_the_others(world: World) -> None:
    broken = world.backup(["rows"])
    world.backup(["rows"], database="other")
    world.store.tamper(LAYOUT.manifest(broken.id), lambda body: body[:1])
    result = run({DATABASE: ONE, "other": ONE}, world.services, dry_run=False, seconds=600)
    assert [report.database for report in result.reports] == ["other"]
    assert set(result.failed) == {DATABASE}
    assert list(world.catalogue.live_runs(DATABASE)) == []
