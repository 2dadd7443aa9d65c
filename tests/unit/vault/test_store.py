"""What a run writes once is written once, however often a retry below it sends the request."""

from __future__ import annotations

import hashlib

import pytest

from coffre.errors import ObjectExistsError
from tests.fakes.store import MemoryStore

BODY = b"a manifest"
SHA256 = hashlib.sha256(BODY).hexdigest()


def test_a_write_that_was_sent_twice_knows_its_own_object() -> None:
    store = MemoryStore()
    store.put_once("key", BODY, size=len(BODY), sha256=SHA256)
    store.put_once("key", BODY, size=len(BODY), sha256=SHA256)
    assert len(list(store.versions("key"))) == 1


@pytest.mark.parametrize("other", [b"of another", b"a manifest of another attempt"])
def test_somebody_elses_object_is_not_taken_for_ones_own(other: bytes) -> None:
    store = MemoryStore()
    store.put("key", other)
    with pytest.raises(ObjectExistsError):
        store.put_once("key", BODY, size=len(BODY), sha256=SHA256)
    assert store.get("key").read() == other
