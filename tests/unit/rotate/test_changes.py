"""A sweep's changes are carried out together, in an order that can be cut short, and counted as they end."""

from __future__ import annotations

import pytest

from coffre.errors import DeleteRefusedError
from coffre.rotate import changes
from coffre.rotate.changes import Changes, Counts
from coffre.rotate.inventory import StoredKey, stored_keys
from tests.fakes.store import FailingStore


@pytest.fixture
def store() -> FailingStore:
    """A bucket with a key in sight and three behind markers, of two bytes each."""
    made = FailingStore()
    for key in ("hidden-1", "hidden-2", "hidden-3", "seen"):
        made.put(key, b"ab")
    for key in ("hidden-1", "hidden-2", "hidden-3"):
        made.mark_deleted(key)
    made.calls.clear()
    return made


def found(store: FailingStore) -> dict[str, StoredKey]:
    """Every key with its versions."""
    return {stored.key: stored for stored in stored_keys(store.versions(""))}


def test_what_was_decided_is_done_at_the_end_and_counted(store: FailingStore) -> None:
    keys, work = found(store), Changes(store, lambda: None)
    work.add(keys["seen"], "mark")
    work.add(keys["hidden-1"], "unmark")
    work.add(keys["hidden-2"], "purge")
    work.add(keys["hidden-3"], "wait")
    assert found(store) == keys

    counts = work.finish()

    assert store.keys() == ["hidden-1"]
    assert set(found(store)) == {"hidden-1", "hidden-3", "seen"}
    assert counts == Counts(
        marked=1, marked_bytes=2, purged=1, purged_bytes=2, waiting=1, waiting_bytes=2, unmarked=1
    )


def test_enough_for_a_request_is_done_at_once(store: FailingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "DELETES", 2)
    keys, work = found(store), Changes(store, lambda: None)
    work.add(keys["hidden-1"], "purge")
    work.add(keys["hidden-2"], "purge")
    work.add(keys["hidden-3"], "purge")
    assert set(found(store)) == {"hidden-3", "seen"}
    work.finish()
    assert set(found(store)) == {"seen"}


def test_of_all_that_goes_versions_go_before_markers(
    store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, work = found(store), Changes(store, lambda: None)
    markers = {marker.version for stored in keys.values() for marker in stored.markers}
    gone: list[bool] = []
    delete = store.delete_version

    def watched(key: str, version: str) -> None:
        gone.append(version in markers)
        delete(key, version)

    monkeypatch.setattr(store, "delete_version", watched)
    for number in (1, 2, 3):
        work.add(keys[f"hidden-{number}"], "purge")
    work.finish()
    assert gone == [False, False, False, True, True, True]


def test_what_the_store_keeps_stays_hidden_and_counts_as_waiting(store: FailingStore) -> None:
    keys, work = found(store), Changes(store, lambda: None)
    store.fail("delete_version", DeleteRefusedError("locked"), containing="hidden-2")
    work.add(keys["hidden-1"], "purge")
    work.add(keys["hidden-2"], "purge")

    counts = work.finish()

    assert (counts.purged, counts.waiting) == (1, 1)
    assert found(store)["hidden-2"] == keys["hidden-2"]


def test_a_marker_that_must_go_and_cant_is_an_error(store: FailingStore) -> None:
    work = Changes(store, lambda: None)
    store.fail("delete_version", DeleteRefusedError("a policy"), containing="hidden-2")
    work.add(found(store)["hidden-2"], "unmark")
    with pytest.raises(DeleteRefusedError, match="marker of hidden-2"):
        work.finish()


def test_the_deadline_is_looked_at_before_each_request(store: FailingStore) -> None:
    checks: list[int] = []
    keys, work = found(store), Changes(store, lambda: checks.append(len(store.calls)))
    work.finish()
    assert checks == [], "nothing is asked of anybody if nothing is to be done"
    for key, what in {"seen": "mark", "hidden-1": "unmark", "hidden-2": "purge"}.items():
        work.add(keys[key], what)  # type: ignore[arg-type]
    before = len(store.calls)
    work.finish()
    assert checks == [before, before + 1, before + 2, before + 3]
