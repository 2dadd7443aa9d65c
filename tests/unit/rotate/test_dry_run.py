"""A dry run says what the run does, whatever the vault looks like."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.databases.registration import Retention
from coffre.vault.locks import LockRule
from coffre.vault.notes import Hold, write_note
from tests.unit.rotate.conftest import LAYOUT, World
from tests.unit.rotate.test_quarantine import accuse, flip

TEXTS = ["a", "b", "c"]
steps = st.one_of(
    st.tuples(st.just("backup"), st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3, unique=True)),
    st.tuples(st.just("time"), st.sampled_from([5, 8, 30, 24 * 9])),
    st.tuples(st.just("rotate"), st.none()),
    st.tuples(st.just("verdict"), st.sampled_from(["proven", "failed", "inconclusive"])),
    st.tuples(st.just("hold"), st.booleans()),
    st.tuples(st.just("hide"), st.none()),
    st.tuples(st.just("damage"), st.integers(0, 2)),
    st.tuples(st.just("orphan"), st.sampled_from(TEXTS)),
)
retentions = st.builds(
    Retention,
    hourly=st.sampled_from([0, 3, "2d"]),
    daily=st.sampled_from([0, 2]),
    weekly=st.just(0),
    monthly=st.sampled_from([0, 12]),
    keep_last=st.integers(1, 2),
)


def take(world: World, what: str, value: Any, retention: Retention, made: list[Any]) -> None:
    """One step."""
    if what == "backup":
        world.store.advance(minutes=1)
        made.append(world.backup(value))
    elif what == "time":
        world.store.advance(hours=value)
    elif what == "rotate":
        world.rotate(retention=retention)
    elif what == "orphan":
        world.store.put(f"{LAYOUT.backups}20200101T000000Z-daily-000000/0123456789ab/schema", value.encode())
    elif made and world.store.head(LAYOUT.manifest(made[-1].id)) is not None:
        world.store.advance(seconds=1)
        if what == "verdict":
            world.evidence(made[-1], value)
        elif what == "hold":
            until = None if value else world.store.now + timedelta(hours=20)
            write_note(world.store, LAYOUT, made[-1].id, "hold", Hold(until=until), world.store.now)
        elif what == "hide":
            world.store.mark_deleted(LAYOUT.manifest(made[-1].id))
        else:
            damage(world, made[-1], value)


def damage(world: World, manifest: Any, number: int) -> None:
    chunks = world.chunks(manifest)
    key = chunks[number % len(chunks)].key
    if world.store.head(key) is not None:
        world.store.tamper(key, flip)
        accuse(world, manifest, key)


@settings(max_examples=20)
@given(st.lists(steps, min_size=3, max_size=12), retentions, st.booleans())
def test_a_dry_run_equals_the_run(given_steps: list[Any], retention: Retention, has_locks: bool) -> None:
    world, made = World(), list[Any]()
    if has_locks:
        world.store.rule = LockRule("GOVERNANCE", timedelta(hours=20))
    for what, value in given_steps:
        take(world, what, value, retention, made)
    before = world.contents()
    dry = world.rotate(retention=retention, dry_run=True)
    assert world.contents() == before
    assert world.rotate(retention=retention).model_copy(update={"dry_run": True}) == dry
