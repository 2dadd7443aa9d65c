"""KMS keys that can't be used: nothing is written, nothing is called damaged, and the key is named (B14)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError, KeyServiceUnavailableError, SealKeyUnavailableError
from coffre.ids import utc_now
from tests.fakes.kms import KEY, OTHER_KEY
from tests.fakes.store import START
from tests.faults.world import DATABASE, World

LATER = START + timedelta(days=1)


def test_a_key_that_cant_be_used_stops_what_needs_it_and_is_named(world: World, source: Target) -> None:
    backup = world.backup(source, START, seal_key=KEY).backup_id
    before = world.store.keys()
    world.kms.refusals[KEY] = "KMSInvalidStateException"
    with pytest.raises(SealKeyUnavailableError, match=KEY):
        world.backup(source, LATER, seal_key=KEY)
    assert world.store.keys() == before, "a backup that can't be sealed writes nothing"
    found = world.catalogue.backup(DATABASE, backup)
    assert found is not None
    assert found.status == "completed"
    restored = replace(source, database=f"{source.database}-again")
    with pytest.raises(SealKeyUnavailableError, match=KEY):
        world.plan(restored, backup)
    verdict = world.verify(backup)
    assert (verdict.verdict, [reason.code for reason in verdict.reasons]) == (
        "inconclusive",
        ["seal-key-unavailable"],
    )
    assert KEY in verdict.reasons[0].message
    world.kms.refusals.clear()
    assert world.verify(backup).verdict == "proven"
    assert world.restore(restored, backup).digests_equal


def test_a_new_key_stores_all_rows_anew_and_old_backups_stay_readable(world: World, source: Target) -> None:
    first = world.backup(source, START, seal_key=KEY)
    assert world.backup(source, START + timedelta(hours=1), seal_key=KEY).new_chunks == 0
    renewed = {"seal_key": KEY, "seal_since": utc_now()}
    for hours, decided in ((2, renewed), (4, {"seal_key": OTHER_KEY})):
        changed = world.backup(source, START + timedelta(hours=hours), **decided)
        assert changed.new_chunks == changed.chunks > 0, "the rows have other names under another key"
        assert world.backup(source, START + timedelta(hours=hours + 1), **decided).new_chunks == 0
    restored = replace(source, database=f"{source.database}-first")
    assert world.restore(restored, first.backup_id).digests_equal


def test_a_key_service_that_fails_says_nothing_about_a_backup(world: World, source: Target) -> None:
    backup = world.backup(source, START, seal_key=KEY).backup_id
    evidence = len(world.store.keys(f"{DATABASE}/proofs/"))
    world.kms.refusals[KEY] = "KMSInternalException"
    for attempt in (lambda: world.verify(backup), lambda: world.backup(source, LATER, seal_key=KEY)):
        with pytest.raises(KeyServiceUnavailableError, match=KEY):
            attempt()
    assert len(world.store.keys(f"{DATABASE}/proofs/")) == evidence


def test_a_bit_that_flips_in_any_sealed_object_is_found(world: World, source: Target) -> None:
    backup = world.backup(source, START, seal_key=KEY).backup_id
    assert world.verify(backup).verdict == "proven"
    for key in world.store.keys(f"{DATABASE}/"):
        if "/proofs/" in key:
            continue
        body = world.store.get(key).read()
        wrong = bytearray(body)
        wrong[len(body) // 2] ^= 1
        world.store.tamper(key, lambda _, wrong=bytes(wrong): wrong)  # type: ignore[misc]
        try:
            verdict = world.verify(backup).verdict
        except CoffreError as error:
            verdict = error.code
        assert verdict in ("failed", "manifest-invalid"), key
        world.store.tamper(key, lambda _, body=body: body)  # type: ignore[misc]
    assert world.verify(backup).verdict == "proven"
