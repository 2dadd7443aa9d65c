"""A damaged chunk is put aside, takes the proofs that rest on it, and is stored afresh by the next backup."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import zstandard

from coffre.catalogue.rebuild import rebuild
from coffre.catalogue.standing import read_standing
from coffre.databases.registration import Retention
from coffre.errors import ObjectCorruptError, StoreUnavailableError
from coffre.events.base import Verdict
from coffre.ids import backup_id
from coffre.results import Finding
from coffre.rotate.run import run
from coffre.vault.layout import Layout
from coffre.vault.locate import is_sound_chunk, locate_chunk, read_chunk
from coffre.vault.manifest import Manifest
from coffre.vault.notes import Chunks, list_notes, write_note
from coffre.vault.reader import load_manifest
from tests.fakes.store import FailingStore
from tests.fakes.vault import DATABASE, SAMPLE, make_chunk, put_evidence
from tests.unit.rotate.conftest import LAYOUT, ONE, World

MANY = Retention(daily=100)


def flip(body: bytes) -> bytes:
    return body[:-3] + bytes([body[-3] ^ 1]) + body[-2:]


def accuse(world: World, manifest: Manifest, key: str, code: str = "object-corrupt") -> None:
    """The evidence of a verification that found a chunk damaged."""
    _, root = load_manifest(world.store, DATABASE, manifest.id)
    finding = Finding(level="refuse", code=code, object=key, message="damaged")
    found = put_evidence(world.store, manifest, root, "failed", world.store.now)
    world.store.put(
        found.evidence, found.model_copy(update={"reasons": [finding]}).model_dump_json().encode()
    )
    world.catalogue.verdict(found)


def damaged_world(world: World, verdict: Verdict = "proven") -> tuple[Manifest, Manifest, str]:
    """Two backups that share a chunk, which rots; the newer one's verification finds it."""
    old = world.backup(["shared", "only old"])
    world.evidence(old, verdict)
    world.pass_days(1)
    new = world.backup(["shared", "only new"])
    chunk, _ = make_chunk(LAYOUT, b"shared\n")
    world.store.tamper(chunk.key, flip)
    world.store.advance(hours=1)
    accuse(world, new, chunk.key)
    world.store.advance(hours=1)
    return old, new, chunk.key


def test_the_whole_story(world: World) -> None:
    old, new, key = damaged_world(world)
    report = world.rotate(retention=MANY)
    assert (report.quarantined_chunks, report.doubted) == (1, [old.id])
    assert world.store.head(key) is None
    assert (world.verdict(old), world.verdict(new)) == ("inconclusive", "failed")
    world.store.advance(hours=1)
    third = world.backup(["shared", "only new"])
    assert world.store.head(key) is not None
    assert is_sound_chunk(world.store, key)
    world.evidence(third, "proven")
    for manifest in (old, new, third):
        for chunk in world.chunks(manifest):
            locate_chunk(world.store, chunk)[1].close()
    assert world.rotate(retention=MANY).quarantined_chunks == 0
    assert world.verdict(old) == "inconclusive", "it is proven again by a proof, not by hope"
    world.evidence(old, "proven")
    assert world.verdict(old) == "proven"


def test_damage_that_an_earlier_look_found_is_put_aside_as_well(world: World) -> None:
    """Each slice of a recheck is evidence of its own; the newest doesn't know of those before it."""
    manifest = world.backup(["one", "two", "three"])
    keys = [chunk.key for chunk in world.chunks(manifest)]
    for key in keys[:2]:
        world.store.tamper(key, flip)
        world.store.advance(minutes=5)
        accuse(world, manifest, key)
    assert world.rotate().quarantined_chunks == 2
    assert [world.store.head(key) is None for key in keys] == [True, True, False]
    world.store.advance(hours=1)
    world.backup(["one"])
    facts = {d.backup_id: d for d in world.rotate(retention=MANY).decisions}
    assert not any(reason.startswith("doubted") for reason in facts[manifest.id].reasons), "two is gone"


def test_a_doubt_outlives_the_catalogue(world: World) -> None:
    old, _, _ = damaged_world(world)
    world.rotate(retention=MANY)
    rebuild(world.store, world.catalogue, [DATABASE])
    assert world.verdict(old) == "inconclusive"
    entry = world.catalogue.backup(DATABASE, old.id)
    assert entry is not None
    assert [reason.code for reason in entry.reasons] == ["chunk-quarantined"]


def test_a_doubt_takes_a_proof_that_was_written_after_the_rotation_started(world: World) -> None:
    """Or, which is the same, by a clock that is ahead of the rotation's."""
    old, _, _ = damaged_world(world)
    world.evidence(old, "proven")
    behind = replace(world.services, now=lambda: world.store.now - timedelta(minutes=1))
    assert run({DATABASE: MANY}, behind, dry_run=False, seconds=600).reports[0].doubted == [old.id]
    assert world.verdict(old) == "inconclusive"


def test_more_damage_than_a_rotation_has_time_to_read_is_put_aside_by_several(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that spent all of its time reading would do so for ever, and every backup would meet the damage."""
    texts = [f"row {number}" for number in range(20)]
    backup = world.backup(texts)
    for key in (chunk.key for chunk in world.chunks(backup)):
        world.store.tamper(key, flip)
    world.store.advance(hours=1)
    note = Chunks(chunks=[chunk.id for chunk in world.chunks(backup)])
    write_note(world.store, LAYOUT, backup.id, "damage", note, world.store.now)
    world.store.advance(hours=1)

    def slowly(store: Any, key: str, version: str | None = None) -> bool:
        world.store.advance(minutes=1)
        return is_sound_chunk(store, key, version)

    monkeypatch.setattr("coffre.rotate.quarantine.is_sound_chunk", slowly)
    found = [world.rotate(retention=MANY).quarantined_chunks for _ in range(5)]
    assert sum(found) == 20
    assert max(found) < 10


def test_a_backup_whose_damage_there_was_no_time_to_read_is_not_deleted_as_a_failed_one(
    world: World,
) -> None:
    old, new, _ = damaged_world(world, "failed")
    accuse(world, old, world.chunks(old)[1].key)
    world.pass_days(1)
    world.evidence(world.backup(["shared again"]), "proven")
    started, calls = world.store.now, itertools.count()
    world.services = replace(world.services, now=lambda: started + timedelta(minutes=4 * next(calls)))
    kept = {d.backup_id: d for d in world.rotate(dry_run=True).decisions}
    assert kept[old.id].action == kept[new.id].action == "keep"
    assert any("looked at by a later rotation" in reason for reason in kept[old.id].reasons)


def test_a_chunk_that_is_right_is_not_put_aside_whatever_evidence_says(world: World) -> None:
    manifest = world.backup(["fine"])
    [chunk] = world.chunks(manifest)
    accuse(world, manifest, chunk.key)
    report = world.rotate()
    assert (report.quarantined_chunks, report.doubted) == (0, [])
    assert world.store.head(chunk.key) is not None


def test_a_damaged_chunk_never_comes_back_by_itself(world: World) -> None:
    """A marker on a needed chunk is taken away only if what lies below is right."""
    _, _, key = damaged_world(world)
    for _ in range(4):
        world.rotate(retention=MANY)
        world.store.advance(hours=8)
    assert world.store.head(key) is None
    assert any(not version.marker for version in world.store.versions(key)), "nothing was destroyed"


def test_what_a_backup_met_is_put_aside_although_no_backup_names_it(world: World) -> None:
    """The run that could not use the chunk failed; its note is all there is."""
    chunk, body = make_chunk(LAYOUT, b"orphan\n")
    world.store.put(chunk.key, flip(body))
    failed = backup_id(DATABASE, "daily", world.store.now)
    write_note(world.store, LAYOUT, failed, "damage", Chunks(chunks=[chunk.id]), world.store.now)
    assert world.rotate(dry_run=True).quarantined_chunks == 1
    assert world.store.head(chunk.key) is not None
    assert world.rotate().quarantined_chunks == 1
    assert world.store.head(chunk.key) is None


@pytest.mark.parametrize("body", [b"", b"{", b'{"chunks": ["../../x"]}', b'{"chunks": 7}'])
def test_a_note_of_rubbish_is_passed_over(world: World, body: bytes) -> None:
    world.backup(["rows"])
    name = backup_id(DATABASE, "daily", world.store.now)
    world.store.put(f"{LAYOUT.notes(name)}2026-11-20T03:00:00.000000Z-damage.json", body)
    assert world.rotate().quarantined_chunks == 0


def test_a_sample_keeps_its_backup_and_falls_with_a_damaged_chunk_of_any_table(world: World) -> None:
    old = world.backup(["shared", "only old"])
    world.evidence(old, "inconclusive", SAMPLE)
    world.pass_days(1)
    new = world.backup(["shared", "only new"])
    reasons = {entry.backup_id: entry.reasons for entry in world.rotate(dry_run=True).decisions}
    assert reasons[old.id][0].startswith("sampled: ")
    chunk, _ = make_chunk(LAYOUT, b"shared\n")
    world.store.tamper(chunk.key, flip)
    world.store.advance(hours=1)
    accuse(world, new, chunk.key)
    world.store.advance(hours=1)
    report = world.rotate()
    assert report.doubted == [old.id]
    entry = world.catalogue.backup(DATABASE, old.id)
    assert entry is not None
    assert ([reason.code for reason in entry.reasons], entry.sampled) == (["chunk-quarantined"], "")
    assert read_standing(world.catalogue.backups(DATABASE)).sampled is None


def test_a_backup_whose_damage_is_healed_is_not_deleted_as_a_failed_one(world: World) -> None:
    """One bit that rotted in a shared chunk must not cost the whole history once it is healed."""
    old, new, key = damaged_world(world)
    accuse(world, old, key)
    world.rotate(retention=MANY)
    world.store.advance(hours=1)
    third = world.backup(["shared"])
    world.evidence(third, "proven")
    decisions = {d.backup_id: d for d in world.rotate(retention=MANY).decisions}
    assert decisions[old.id].action == "keep"
    assert decisions[old.id].reasons == (
        "daily: last of 2026-11-20 (2 of 100, promoted from hourly)",
    ) or any(reason.startswith("daily") for reason in decisions[old.id].reasons)
    assert world.verdict(old) == world.verdict(new) == "failed", "until it is verified again"


def test_the_last_backup_that_was_proven_is_not_lost_with_its_proof(world: World) -> None:
    old, new, _ = damaged_world(world)
    kept = {d.backup_id: d for d in world.rotate(retention=ONE).decisions if d.action == "keep"}
    assert "doubted: a chunk of it was found damaged" in " ".join(kept[old.id].reasons)
    assert new.id in kept


def test_a_chunk_that_was_compressed_otherwise_serves_older_backups_too(world: World) -> None:
    """Another version of zstd makes other bytes of the same rows; the rows are what counts."""
    manifest = world.backup(["rows"])
    [chunk] = world.chunks(manifest)
    world.store.mark_deleted(chunk.key)
    world.store.lose(chunk.key)
    world.store.put(chunk.key, zstandard.ZstdCompressor(level=19, write_checksum=True).compress(b"rows\n"))
    version, body = locate_chunk(world.store, chunk)
    assert version is None
    assert zstandard.ZstdDecompressor().decompressobj().decompress(body.read()) == b"rows\n"
    assert read_chunk(world.store, chunk) == b"rows\n"


def test_a_chunk_is_read_behind_a_marker_and_behind_a_version_that_is_wrong(world: World) -> None:
    manifest = world.backup(["rows"])
    [chunk] = world.chunks(manifest)
    world.store.mark_deleted(chunk.key)
    assert read_chunk(world.store, chunk) == b"rows\n"
    for wrong in (b"", b"no zstd", zstandard.ZstdCompressor().compress(b"other\n")):
        world.store.put(chunk.key, wrong)
        assert read_chunk(world.store, chunk) == b"rows\n"
    world.store.lose(chunk.key)
    world.store.put(chunk.key, wrong)
    with pytest.raises(ObjectCorruptError):
        read_chunk(world.store, chunk)


def kill(world: World, after: int) -> None:
    """Let a rotation die after so many requests."""
    left = after

    def meet(operation: str, key: str) -> None:
        nonlocal left
        world.store.calls.append((operation, key))
        left -= 1
        if left < 0:
            raise StoreUnavailableError("killed")

    world.store._meet = meet  # type: ignore[method-assign]
    run({DATABASE: ONE}, world.services, dry_run=False, seconds=600)
    world.store._meet = FailingStore._meet.__get__(world.store)  # type: ignore[method-assign]


def test_a_rotation_that_is_killed_at_any_request_is_finished_by_the_next(world: World) -> None:
    """Every request of a rotation that quarantines, deletes, marks and purges is its last one, in turn."""
    number, done = 0, False
    while not done:
        world.store = FailingStore()
        world.services = type(world.services)(
            world.store, world.catalogue, world.services.publisher, 6 * 3600, lambda: world.store.now
        )
        old, new, key = damaged_world(world)
        world.store.calls.clear()
        kill(world, number)
        done = len(world.store.calls) <= number
        world.rotate()
        assert world.store.head(key) is None
        assert world.verdict(old) == "inconclusive"
        notes = [note for note in list_notes(world.store, Layout(DATABASE), old.id) if note.what == "doubt"]
        assert len(notes) == 1
        for manifest in (old, new):
            for chunk in world.chunks(manifest):
                if chunk.key != key:
                    locate_chunk(world.store, chunk)[1].close()
        number += 1
    assert number > 20
