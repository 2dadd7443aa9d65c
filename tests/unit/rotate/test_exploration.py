"""Every order of a few steps on a small vault: writers that freeze, crash, retry, come twice; rotations.

`test_interleavings.py` draws longer histories at random; here nothing is left to chance.  A state is what
lies in the vault with ages, which writers are under way, and what a rotation has read that acts on it later;
states whose ages nobody can tell apart any more are one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from coffre.errors import ObjectExistsError, ObjectMissingError, UnknownBackupError
from coffre.ids import backup_id
from coffre.rotate.inventory import MARGIN, Horizon, Inventory, take_inventory
from coffre.rotate.sweep import Sweep
from coffre.vault.layout import Layout
from coffre.vault.locate import fetch
from coffre.vault.reader import list_backups, load_manifest
from coffre.vault.refs import read_ids
from tests.fakes.store import START, FailingStore
from tests.fakes.vault import DATABASE, commit, make_chunk, prepare, put_object

MAX_RUN = timedelta(hours=6)
LAYOUT = Layout(DATABASE)
CHUNK, BODY = make_chunk(LAYOUT, b"rows\n")
NAMES = [backup_id(DATABASE, "hourly", START + timedelta(minutes=n)) for n in range(2)]
TICK = timedelta(hours=5)
OLD = 2 * MAX_RUN + 2 * MARGIN
"""An age beyond which nothing changes any more."""


@dataclass
class Vault:
    """A state: the store, the writers by backup and number, and an inventory that a rotation took."""

    store: FailingStore = field(default_factory=FailingStore)
    writers: dict[tuple[int, int], Any] = field(default_factory=dict)
    taken: tuple[Horizon, Inventory] | None = None
    names: int = 1

    def copy(self) -> Vault:
        """The same state, to go on from: what an inventory holds is never changed."""
        return replace(self, store=copy.deepcopy(self.store), writers=dict(self.writers))

    def signature(self) -> tuple[Any, ...]:
        """What tells this state from others: what an attempt left that no manifest names changes nothing."""
        now = self.store.now
        objects = tuple(
            (v.key, v.marker, v.latest, min(now - v.modified, OLD))
            for v in self.store.versions("")
            if v.key == CHUNK.key or v.key.endswith("/manifest.json")
        )
        writers = tuple((k, min(now - w, OLD)) for k, w in sorted(self.writers.items()))
        taken = None
        if self.taken is not None:
            horizon, found = self.taken
            live = tuple(backup.backup_id for backup in found.live)
            fading = tuple(backup.backup_id for backup in found.fading)
            taken = (min(now - horizon.moment, OLD), live, fading)
        return objects, writers, taken


Step = Callable[[Vault], None]


def begin(name: int, number: int) -> Step:
    """A delivery of the event of a backup starts, and uses or uploads the chunk."""

    def step(vault: Vault) -> None:
        if vault.store.head(CHUNK.key) is None:
            put_object(vault.store, CHUNK.key, BODY)
        vault.writers[name, number] = vault.store.now

    return step


def end(name: int, number: int) -> Step:
    """It commits.  A writer that was frozen for longer than a run may take is gone; see `wait`."""

    def step(vault: Vault) -> None:
        del vault.writers[name, number]
        with suppress(ObjectExistsError):
            commit(vault.store, prepare(vault.store, NAMES[name], [CHUNK]))

    return step


def delete(name: int) -> Step:
    """A decision hides the manifest."""
    return lambda vault: vault.store.mark_deleted(LAYOUT.manifest(NAMES[name]))


def wait(vault: Vault) -> None:
    """Time passes; what has gone on for longer than any run may is ended by its function's limits."""
    vault.store.now += TICK
    limit = vault.store.now - MAX_RUN
    vault.writers = {key: started for key, started in vault.writers.items() if started >= limit}
    if vault.taken is not None and vault.taken[0].moment < limit:
        vault.taken = None


def look(vault: Vault) -> None:
    """A rotation takes its inventory, and acts later."""
    horizon = Horizon.at(vault.store.now, MAX_RUN, None)
    vault.taken = (horizon, take_inventory(vault.store, LAYOUT, horizon))


def act(vault: Vault) -> None:
    """It acts on what it saw."""
    assert vault.taken is not None
    (horizon, inventory), vault.taken = vault.taken, None
    with suppress(UnknownBackupError, ObjectMissingError):
        sweep(vault.store, horizon, inventory)


def sweep(store: FailingStore, horizon: Horizon, inventory: Inventory) -> None:
    work = Sweep(store, LAYOUT, inventory, horizon, lambda: None)
    work.chunks()
    work.files()


def steps(vault: Vault) -> Iterator[tuple[str, Step]]:
    """What may happen next."""
    live = set(list_backups(vault.store, DATABASE))
    yield "wait", wait
    for name in range(vault.names):
        for number in range(2 if name == 0 else 1):
            if (name, number) in vault.writers:
                yield f"end {name}.{number}", end(name, number)
            elif not any(vault.store.versions(LAYOUT.manifest(NAMES[name]))):
                yield f"begin {name}.{number}", begin(name, number)
        if NAMES[name] in live:
            yield f"delete {name}", delete(name)
    if vault.taken is None:
        yield "look", look
    else:
        yield "act", act


def check(vault: Vault, history: tuple[str, ...]) -> None:
    """Every backup that exists can be read whole."""
    for name in list_backups(vault.store, DATABASE):
        manifest, _ = load_manifest(vault.store, DATABASE, name)
        for identifier in read_ids(vault.store, manifest):
            key = LAYOUT.chunk(identifier.hex())
            try:
                fetch(vault.store, key, size=CHUNK.stored, sha256=CHUNK.sha256).close()
            except ObjectMissingError as error:
                raise AssertionError(f"{name} lost its chunk after {', '.join(history)}") from error


def explore(names: int, depth: int) -> int:
    """Go through all states that so many steps lead to, of so many backups; how many there are."""
    edge, count = [(Vault(names=names), ())], 1
    seen = {edge[0][0].signature()}
    for _ in range(depth):
        following: list[tuple[Vault, tuple[str, ...]]] = []
        for vault, history in edge:
            for label, step in steps(vault):
                after = vault.copy()
                step(after)
                signature = after.signature()
                if signature not in seen:
                    seen.add(signature)
                    check(after, (*history, label))
                    following.append((after, (*history, label)))
        edge, count = following, count + len(following)
    return count


@pytest.mark.parametrize(("names", "depth"), [(1, 14), (2, 8)])
def test_no_order_of_steps_loses_a_chunk(names: int, depth: int) -> None:
    assert explore(names, depth) > 3_000


def test_a_rotation_that_purged_too_early_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exploration finds the fault that the protocol exists for."""

    def hasty(moment: datetime, max_run: timedelta, oldest: datetime | None) -> Horizon:
        del oldest
        return Horizon(moment, moment - max_run, moment + MARGIN)

    monkeypatch.setattr(Horizon, "at", hasty)
    with pytest.raises(AssertionError, match="lost its chunk after"):
        explore(1, 9)
