"""References: sorted ids, in files of bounded size, checked before they are trusted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.errors import ObjectCorruptError, ObjectMissingError
from coffre.vault import refs
from coffre.vault.manifest import Manifest, RefsFile
from coffre.vault.refs import read_ids, write_refs
from tests.fakes.store import MemoryStore

PREFIX = "shop/backups/20261120T030000Z-daily-1f09ab/0123456789ab/"
IDS = st.sets(st.binary(min_size=32, max_size=32), max_size=60).map(sorted)


@dataclass
class Named:
    """The one thing of a manifest that is read here."""

    refs: list[RefsFile]


def stored(ids: list[bytes]) -> tuple[MemoryStore, Manifest]:
    store = MemoryStore()
    return store, Named(write_refs(store, PREFIX, ids))  # type: ignore[return-value]


@given(IDS, st.integers(1, 20))
def test_ids_come_back_sorted_from_files_that_are_never_too_large(ids: list[bytes], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refs, "MAX_IDS", most)
        store, manifest = stored(ids)
        assert list(read_ids(store, manifest)) == ids
    assert all(file.chunks <= most for file in manifest.refs)
    for one, two in zip(manifest.refs, manifest.refs[1:], strict=False):
        assert one.last < two.first or one.last == two.first == one.first or one.last == two.first == two.last
    for file in manifest.refs:
        assert file.key == f"{PREFIX}refs/{file.first}{file.last}-{file.sha256}"


@given(IDS, st.integers(0, 255), st.integers(0, 255))
def test_a_range_of_first_bytes_holds_every_id_in_it(ids: list[bytes], first: int, last: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refs, "MAX_IDS", 4)
        store, manifest = stored(ids)
        found = set(read_ids(store, manifest, first=first, last=last))
    assert {i for i in ids if first <= i[0] <= last} <= found <= set(ids)


def test_references_that_are_there_already_are_taken_for_the_same() -> None:
    store, first = stored([bytes(32)])
    assert write_refs(store, PREFIX, [bytes(32)]) == first.refs


def test_ids_out_of_order_or_twice_are_refused() -> None:
    one, two = bytes(32), b"\x01" * 32
    for wrong in ([two, one], [one, one], [b"short"]):
        with pytest.raises(ValueError, match="ascend"):
            write_refs(MemoryStore(), PREFIX, wrong)


@pytest.mark.parametrize(
    "change", [lambda b: b[:-1], lambda b: b[:-32], lambda b: b"\xff" + b[1:], lambda b: b[:0]]
)
def test_references_that_were_cut_or_changed_give_no_id(change: object) -> None:
    """B04."""
    store, manifest = stored([bytes([n]) * 32 for n in range(5)])
    store.tamper(manifest.refs[0].key, change)  # type: ignore[arg-type]
    with pytest.raises(ObjectCorruptError):
        next(read_ids(store, manifest))


def test_references_that_are_missing_give_no_id() -> None:
    """B04."""
    store, manifest = stored([bytes(32)])
    store.lose(manifest.refs[0].key)
    with pytest.raises(ObjectMissingError):
        next(read_ids(store, manifest))


def test_references_that_their_manifest_describes_wrongly_are_refused() -> None:
    """B05: a forged manifest can't make ids that aren't sorted or lie elsewhere look good."""
    store = MemoryStore()
    body = b"\x05" * 32 + b"\x03" * 32
    digest = hashlib.sha256(body).hexdigest()
    store.put("refs", body)
    for first, last, chunks in (("00", "ff", 2), ("03", "04", 2), ("00", "ff", 3)):
        file = RefsFile(key="refs", size=64, sha256=digest, first=first, last=last, chunks=chunks)
        with pytest.raises(ObjectCorruptError):
            list(read_ids(store, Named([file])))  # type: ignore[arg-type]
