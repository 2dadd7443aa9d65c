"""A look at a bucket finds what a backup lacks there, without reading rows and without a request for each."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard

from coffre.vault.contents import read_contents
from coffre.vault.layout import Layout
from coffre.vault.manifest import Manifest
from coffre.vault.presence import MAX_GAPS, Gap, Look, Presence
from tests.fakes.store import FailingStore
from tests.fakes.vault import DATABASE, put_backup

ID = "20261120T030000Z-daily-bbbbbb"
LAYOUT = Layout(DATABASE)


def made(rows: int = 400) -> tuple[FailingStore, Manifest]:
    """A vault with one backup, each of whose rows is a chunk."""
    store = FailingStore()
    manifest, _ = put_backup(store, ID, [f"row {number}\n".encode() for number in range(rows)])
    return store, manifest


def seen(store: FailingStore, manifest: Manifest, folder: Path, *, checksums: bool = False) -> Presence:
    """Look, with the parts as they were before anything was taken away."""
    return Look(store, folder / "sections", folder / "slices", checksums=checksums).at(manifest)


def test_what_is_all_there_has_no_gaps_and_costs_a_listing_a_slice(tmp_path: Path) -> None:
    store, manifest = made()
    read_contents(store, manifest, tmp_path / "sections")
    store.calls.clear()

    found = seen(store, manifest, tmp_path)

    assert (found.gaps, found.more) == ((), False)
    assert found.objects == 400 + len(manifest.parts) + len(manifest.refs)
    asked = [operation for operation, _ in store.calls]
    assert asked.count("head") == len(manifest.parts) + len(manifest.refs)
    assert 0 < asked.count("objects") <= 256
    assert {*asked} == {"head", "objects"}, "nothing is read, and no version is asked for"


def test_checksums_cost_a_request_for_each_chunk_and_nothing_is_read(tmp_path: Path) -> None:
    store, manifest = made()
    read_contents(store, manifest, tmp_path / "sections")
    store.calls.clear()

    assert seen(store, manifest, tmp_path, checksums=True).gaps == ()

    asked = [operation for operation, _ in store.calls]
    assert asked.count("head") == 400 + len(manifest.parts) + len(manifest.refs)
    assert {*asked} == {"head", "objects"}


@pytest.mark.parametrize("what", ["part", "references", "chunk"])
def test_whatever_is_missing_is_named(tmp_path: Path, what: str) -> None:
    store, manifest = made()
    read_contents(store, manifest, tmp_path / "sections")
    chunk = store.keys(LAYOUT.chunks)[7]
    key = {"part": manifest.parts[0].key, "references": manifest.refs[0].key, "chunk": chunk}[what]
    store.lose(key)

    assert seen(store, manifest, tmp_path).gaps == (Gap(key, f"{key} is missing"),)


@pytest.mark.parametrize("what", ["part", "chunk"])
def test_another_size_is_a_gap_and_so_is_another_hash_of_a_file(tmp_path: Path, what: str) -> None:
    store, manifest = made()
    read_contents(store, manifest, tmp_path / "sections")
    key = manifest.parts[0].key if what == "part" else store.keys(LAYOUT.chunks)[7]
    body = store.read(key, limit=1 << 20)
    store.lose(key)
    store.put(key, body[1:] if what == "chunk" else body[:-1] + b"x")

    (gap,) = seen(store, manifest, tmp_path).gaps

    assert gap.key == key
    assert "missing" not in gap.message


def test_a_chunk_of_the_same_size_and_another_checksum_is_found_only_by_checksums(tmp_path: Path) -> None:
    store, manifest = made()
    read_contents(store, manifest, tmp_path / "sections")
    key = store.keys(LAYOUT.chunks)[7]
    store.tamper(key, lambda body: body[:-1] + bytes([body[-1] ^ 1]))
    (tmp_path / "more").mkdir()
    read_contents(store, manifest, tmp_path / "more" / "sections")

    assert seen(store, manifest, tmp_path).gaps == ()
    (gap,) = seen(store, manifest, tmp_path / "more", checksums=True).gaps

    assert gap.key == key
    assert "missing" not in gap.message


@pytest.mark.parametrize("checksums", [False, True])
def test_a_chunk_that_was_compressed_afresh_is_no_gap(tmp_path: Path, checksums: bool) -> None:
    store, manifest = made()
    read_contents(store, manifest, tmp_path / "sections")
    key = store.keys(LAYOUT.chunks)[7]
    rows = zstandard.ZstdDecompressor().decompressobj().decompress(store.read(key, limit=1 << 20))
    store.put(key, zstandard.ZstdCompressor(level=19, write_checksum=True).compress(rows))

    assert seen(store, manifest, tmp_path, checksums=checksums).gaps == ()


def test_what_lies_behind_a_delete_marker_is_there_as_it_is_for_readers(tmp_path: Path) -> None:
    store, manifest = made(20)
    read_contents(store, manifest, tmp_path / "sections")
    for key in (manifest.parts[0].key, store.keys(LAYOUT.chunks)[3]):
        store.mark_deleted(key)

    assert seen(store, manifest, tmp_path).gaps == ()


def test_a_bucket_that_lacks_almost_everything_is_not_asked_without_end(tmp_path: Path) -> None:
    store, manifest = made(MAX_GAPS + 300)
    read_contents(store, manifest, tmp_path / "sections")
    empty = FailingStore()

    found = seen(empty, manifest, tmp_path)

    assert (len(found.gaps), found.more) == (MAX_GAPS, True)
    assert len(empty.calls) <= 5 * MAX_GAPS
