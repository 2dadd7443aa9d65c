"""A chunk is stored once, used again only if it is what was recorded, and never trusted unread."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from coffre.errors import ObjectCorruptError, StoreUnavailableError
from coffre.vault.chunks import PlainChunk
from coffre.vault.known import KnownChunks, write_known
from coffre.vault.layout import Layout
from coffre.vault.parts import Chunk
from coffre.vault.uploader import ChunkUploader, Stored
from tests.fakes.store import FailingStore

LAYOUT = Layout("shop")
TEXT = b"one\ntwo\n" * 50


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


@pytest.fixture
def uploader(store: FailingStore) -> Iterator[ChunkUploader]:
    made = ChunkUploader(store, LAYOUT, KnownChunks(None))
    yield made
    made.close()


def plain(text: bytes = TEXT) -> PlainChunk:
    return PlainChunk(memoryview(text), len(text), text.count(b"\n"), Path("/nonexistent"))


def knowing(store: FailingStore, folder: Path, *chunks: Chunk) -> ChunkUploader:
    write_known(chunks, folder / "known")
    return ChunkUploader(store, LAYOUT, KnownChunks(folder / "known"))


def upload(uploader: ChunkUploader, text: bytes = TEXT) -> Stored:
    return uploader.submit(plain(text)).result()


def puts(store: FailingStore) -> int:
    return [operation for operation, _ in store.calls].count("put_new")


def test_a_new_chunk_is_stored_under_the_hash_of_its_text(
    store: FailingStore, uploader: ChunkUploader
) -> None:
    stored = upload(uploader)
    identifier = hashlib.sha256(TEXT).hexdigest()
    assert stored.new
    assert stored.chunk.key == f"shop/chunks/{identifier[:2]}/{identifier}" == store.keys()[0]
    body = store.get(stored.chunk.key).read()
    assert zstandard.ZstdDecompressor().decompress(body) == TEXT
    assert (stored.chunk.stored, stored.chunk.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert (stored.chunk.rows, stored.chunk.bytes) == (100, len(TEXT))


def test_a_known_chunk_is_used_again_without_being_read(store: FailingStore, tmp_path: Path) -> None:
    first = upload(ChunkUploader(store, LAYOUT, KnownChunks(None)))
    store.calls.clear()
    again = upload(knowing(store, tmp_path, first.chunk))
    assert again == Stored(first.chunk, new=False)
    assert [operation for operation, _ in store.calls] == ["head"]


def test_a_known_chunk_that_was_marked_or_lost_is_stored_afresh(store: FailingStore, tmp_path: Path) -> None:
    first = upload(ChunkUploader(store, LAYOUT, KnownChunks(None)))
    store.mark_deleted(first.chunk.key)
    assert upload(knowing(store, tmp_path, first.chunk)) == Stored(first.chunk, new=True)
    store.lose(first.chunk.key)
    assert upload(knowing(store, tmp_path, first.chunk)) == Stored(first.chunk, new=True)
    assert store.keys() == [first.chunk.key]


def test_a_known_chunk_that_changed_meanwhile_is_read_before_it_is_used(
    store: FailingStore, tmp_path: Path
) -> None:
    first = upload(ChunkUploader(store, LAYOUT, KnownChunks(None)))
    other = zstandard.ZstdCompressor(level=19).compress(TEXT)
    store.tamper(first.chunk.key, lambda _: other)
    again = upload(knowing(store, tmp_path, first.chunk))
    assert not again.new
    assert (again.chunk.stored, again.chunk.sha256) == (len(other), hashlib.sha256(other).hexdigest())


@pytest.mark.parametrize("wrong", [b"", b"garbage", zstandard.ZstdCompressor().compress(b"other\n" * 50)])
def test_an_object_that_is_not_what_its_key_says_is_never_used(
    store: FailingStore, uploader: ChunkUploader, tmp_path: Path, wrong: bytes
) -> None:
    first = upload(uploader)
    store.tamper(first.chunk.key, lambda _: wrong)
    with pytest.raises(ObjectCorruptError):
        upload(uploader)
    with pytest.raises(ObjectCorruptError):
        upload(knowing(store, tmp_path, first.chunk))


def test_an_object_with_bytes_behind_its_frame_is_never_used(
    store: FailingStore, uploader: ChunkUploader
) -> None:
    first = upload(uploader)
    store.tamper(first.chunk.key, lambda body: body + b"tail")
    with pytest.raises(ObjectCorruptError):
        upload(uploader)


def test_two_attempts_that_race_store_a_chunk_once(store: FailingStore, uploader: ChunkUploader) -> None:
    futures = [uploader.submit(plain()) for _ in range(20)]
    stored = [future.result() for future in futures]
    assert sum(entry.new for entry in stored) == 1
    assert len({entry.chunk for entry in stored}) == 1


def test_a_store_that_fails_is_heard_of(store: FailingStore, uploader: ChunkUploader) -> None:
    store.fail("put_new", StoreUnavailableError("no"))
    with pytest.raises(StoreUnavailableError):
        upload(uploader)


def test_closing_drops_what_has_not_begun(store: FailingStore) -> None:
    uploader = ChunkUploader(store, LAYOUT, KnownChunks(None))
    futures = [uploader.submit(plain(b"%d\n" % number)) for number in range(200)]
    uploader.close()
    assert all(future.cancelled() or future.done() for future in futures)
    assert puts(store) == sum(not future.cancelled() for future in futures)
