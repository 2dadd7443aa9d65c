"""Every call to S3, DynamoDB and EventBridge fails once, in each of its ways, and nothing is ever lost.

A run without a fault counts the calls; then each case is one call and one way.  ``make test`` tries a sample
that ``COFFRE_FAULT_SEED`` chooses; with ``COFFRE_FAULTS=all`` (``make test-faults``) all are tried.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.ids import backup_id, utc_now
from tests.fakes.vault import put_backup, put_evidence
from tests.faults.cases import FIRST, SECOND, Told, cases, clean_scratch, nobody_is_left
from tests.faults.injection import Way
from tests.faults.world import DATABASE, LAYOUT, SECONDS, World
from tests.support.postgres import databases, dumped, sql, target


def test_a_backup_loses_nothing_whichever_call_fails(
    world: World, server: EphemeralServer, source: Target, postgres_root: Path
) -> None:
    old = world.backup(source, FIRST).backup_id
    sql(source, "UPDATE goods SET name = 'sold' WHERE id = 7")
    before, kept = world.state(), world.versions()
    world.injector.disarm()
    new = world.backup(source, SECOND).backup_id
    calls = len(world.injector.calls)
    whole = {name: world.content(name) for name in (old, new)}
    assert whole[old] != whole[new]
    told = Told("backup")
    for number, way in cases(calls, 20):
        world.reset(before)
        outcome = world.attempt(lambda: world.backup(source, SECOND), number, way)
        hit = f"{way} of call {number}: {world.injector.hit}"
        told.count(outcome)
        assert way is not Way.DOUBLED or outcome.result is not None, f"{hit}: {outcome.error}"
        world.injector.disarm()
        # What was there is there, byte for byte, and the old backup is whole.
        assert kept.items() <= world.versions().items(), hit
        assert world.content(old) == whole[old], hit
        # No backup, or a whole one; and nobody says otherwise.
        exists = world.manifest(new) is not None
        assert not exists or world.content(new) == whole[new], hit
        assert outcome.result is None or (exists and outcome.result.status == "completed"), hit
        assert exists or world.status(new) != "completed", hit
        # The lease is free, or ends by itself.
        ends = world.lease_ends()
        assert ends is None or ends <= utc_now() + timedelta(seconds=SECONDS), hit
        assert nobody_is_left(server), hit
        clean_scratch(world, outcome)
        # As Lambda does after a failure, and the manifest's event.
        world.offset = timedelta(hours=1)
        again = world.backup(source, SECOND)
        world.offset = timedelta()
        assert again.status == ("skipped" if exists else "completed"), hit
        assert world.content(new) == whole[new], hit
        assert world.verify(new).verdict == "proven", hit
        assert (world.status(new), world.backups()) == ("completed", [old, new]), hit
    told.print(calls)


def test_a_verification_never_errs_whichever_call_fails(world: World, source: Target) -> None:
    name = world.backup(source, FIRST).backup_id
    world.backup(source, SECOND)
    before, kept = world.state(), world.versions()
    world.injector.disarm()
    assert world.verify(name).verdict == "proven"
    calls = len(world.injector.calls)
    told = Told("verify")
    for number, way in cases(calls, 30):
        world.reset(before)
        outcome = world.attempt(lambda: world.verify(name), number, way)
        hit = f"{way} of call {number}: {world.injector.hit}"
        told.count(outcome)
        assert way is not Way.DOUBLED or outcome.result is not None, f"{hit}: {outcome.error}"
        world.injector.disarm()
        now = world.versions()
        assert kept.items() <= now.items(), hit
        added = {key for key, _ in now.keys() - kept.keys()}
        assert all(key.startswith((LAYOUT.proofs(name), "_tickets/")) for key in added), hit
        # A store that doesn't answer says nothing about a backup.
        assert outcome.result is None or outcome.result.verdict == "proven", hit
        entry = world.catalogue.backup(DATABASE, name)
        assert entry is not None
        assert entry.verdict in (None, "proven"), hit
        assert entry.verdict is None or entry.evidence in added, hit
        clean_scratch(world, outcome)
        assert world.verify(name).verdict == "proven", hit
        assert world.catalogue.backup(DATABASE, name).verdict == "proven", hit  # type: ignore[union-attr]
    told.print(calls)


def rotated(world: World) -> tuple[list[str], dict[str, bool]]:
    """What a rotation decides: the backups, and which chunks are visible."""
    visible = {item.key for item in world.store.objects("")}
    chunks = {v.key: v.key in visible for v in world.store.versions(LAYOUT.chunks)}
    return world.backups(), chunks


def make_history(world: World) -> dict[str, list[bytes]]:
    """Backups that share chunks, an orphan, and what an earlier rotation hid: now long ago, now just now."""
    world.offset = timedelta(days=-3)
    made: dict[str, list[bytes]] = {}

    def add(texts: list[bytes], proven: bool) -> str:
        world.clock()
        name = backup_id(DATABASE, "hourly", world.store.now)
        manifest, root = put_backup(world.store, name, texts)
        world.catalogue.complete(manifest, root)
        if proven:
            put_evidence(world.store, manifest, root, "proven", world.store.now)
        made[name] = texts
        return name

    add([b"first\n", b"shared\n"], proven=True)
    world.offset = timedelta(days=-2)
    add([b"second\n", b"shared\n"], proven=True)
    world.rotate()
    world.offset = timedelta(days=-1)
    add([b"third\n", b"shared\n", b"again\n"], proven=True)
    world.store.put(f"{LAYOUT.chunks}00/{'0' * 64}", b"an orphan")
    world.rotate()
    world.offset = timedelta(minutes=-90)
    add([b"fourth\n", b"again\n", b"shared\n"], proven=False)
    world.offset = timedelta()
    return made


def test_a_rotation_loses_nothing_whichever_call_fails(world: World) -> None:
    make_history(world)
    before = world.state()
    world.injector.disarm()
    assert world.rotate().failed == {}
    calls = len(world.injector.calls)
    live = {name: world.content(name) for name in world.backups()}
    assert len(live) == 2, "the newest one, and the last proven one"
    world.rotate()
    settled = rotated(world)
    told = Told("rotate")
    for number, way in cases(calls, 60):
        world.reset(before)
        outcome = world.attempt(world.rotate, number, way)
        hit = f"{way} of call {number}: {world.injector.hit}"
        told.count(outcome)
        assert way is not Way.DOUBLED or outcome.result is not None, f"{hit}: {outcome.error}"
        world.injector.disarm()
        assert {name: world.content(name) for name in live} == live, hit
        gone = [name for name in world.backups() if name not in live]
        for name in gone:
            assert world.content(name), f"{hit}: what wasn't deleted yet is still whole"
        world.offset = timedelta(seconds=1)
        assert world.rotate().failed == {}, hit
        assert world.rotate().failed == {}, hit
        world.offset = timedelta()
        assert rotated(world) == settled, hit
        assert {name: world.content(name) for name in live} == live, hit
        deleted = [e.subject for e in world.catalogue.audits(DATABASE) if e.action == "delete"]
        assert set(deleted) >= {e.backup_id for e in world.catalogue.backups(DATABASE, status="deleted")}
    told.print(calls)


def test_a_restore_never_looks_finished_and_never_touches_anything_else_whichever_call_fails(
    world: World, server: EphemeralServer, source: Target, postgres_root: Path
) -> None:
    name = world.backup(source, FIRST).backup_id
    content, there = dumped(postgres_root, source), databases(server)
    before, kept = world.state(), world.versions()
    wanted = target(server, "restored")

    def drop() -> None:
        for left in databases(server) - there:
            sql(target(server, "postgres"), f'DROP DATABASE "{left}" WITH (FORCE)')

    world.injector.disarm()
    world.restore(wanted, name)
    calls = len(world.injector.calls)
    drop()
    told = Told("restore")
    for number, way in cases(calls, 10):
        world.reset(before)
        outcome = world.attempt(lambda: world.restore(wanted, name), number, way)
        hit = f"{way} of call {number}: {world.injector.hit}"
        told.count(outcome)
        assert way is not Way.DOUBLED or outcome.result is not None, f"{hit}: {outcome.error}"
        world.injector.disarm()
        assert world.versions() == kept, hit
        new = databases(server) - there
        assert "restored" in new or outcome.result is None, hit
        assert all(left == "restored" or (outcome.killed and "_restoring_" in left) for left in new), hit
        assert nobody_is_left(server), hit
        clean_scratch(world, outcome)
        if "restored" not in new:
            assert world.restore(wanted, name).digests_equal, hit
        assert dumped(postgres_root, wanted) == content, hit
        assert dumped(postgres_root, source) == content, hit
        drop()
    told.print(calls)
