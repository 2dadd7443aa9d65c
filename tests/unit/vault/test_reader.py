"""Reading a vault: what is wrong is refused, what is hidden is found."""

from __future__ import annotations

import hashlib
import io
import random
import tracemalloc
from typing import BinaryIO

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from coffre.errors import (
    CoffreError,
    ManifestInvalidError,
    ObjectCorruptError,
    ObjectMissingError,
    UnknownBackupError,
)
from coffre.vault.layout import Layout
from coffre.vault.locate import fetch, locate
from coffre.vault.manifest import PartFile, decode, encode
from coffre.vault.parts import Chunk, Column, End, Record, Relation, Role
from coffre.vault.reader import list_backups, load_manifest, meant_backup, newest_backup, read_part
from coffre.vault.sealing import UNSEALED
from tests.fakes.store import MemoryStore
from tests.fakes.vault import DATABASE, prepare, put_backup, put_object, put_part

OLD, NEW = "20261119T030000Z-daily-aaaaaa", "20261120T030000Z-daily-bbbbbb"
LAYOUT = Layout(DATABASE)


class Urls:
    """Presigned URLs: a reader that knows no versions."""

    seal = UNSEALED

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def get(self, key: str, version: str | None = None) -> BinaryIO:
        return self._store.get(key, version)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def packed(text: bytes, *, size: int | None = None, chunks: int = 0) -> tuple[MemoryStore, PartFile]:
    """A part of this text whose manifest says what it says."""
    store, body = MemoryStore(), zstandard.ZstdCompressor().compress(text)
    store.put("part", body)
    length = len(text) if size is None else size
    return store, PartFile(
        key="part", size=len(body), sha256=digest(body), bytes=length, relations=0, chunks=chunks
    )


def test_only_what_has_a_manifest_is_a_backup() -> None:
    store = MemoryStore()
    assert newest_backup(store, DATABASE) is None
    put_backup(store, NEW, [b"new\n"])
    put_backup(store, OLD, [b"old\n"])
    put_backup(store, "20261121T030000Z-daily-cccccc", [b"x\n"], database="shop-prod")
    prepare(store, "20261122T030000Z-daily-dddddd", [])
    assert list(list_backups(store, DATABASE)) == [OLD, NEW]
    assert newest_backup(store, DATABASE) == NEW
    store.mark_deleted(LAYOUT.manifest(NEW))
    assert list(list_backups(store, DATABASE)) == [OLD]


def test_latest_means_no_safety_backup_unless_there_is_nothing_else() -> None:
    store = MemoryStore()
    with pytest.raises(UnknownBackupError) as raised:
        meant_backup(store, DATABASE, "latest")
    assert "coffre backup shop --wait" in raised.value.hint
    safety = [f"2026112{day}T040000Z-safety-dddddd" for day in (1, 2)]
    for one in safety:
        put_backup(store, one, [b"damaged\n"])
    assert meant_backup(store, DATABASE, "latest") == safety[1]
    put_backup(store, OLD, [b"old\n"])
    assert meant_backup(store, DATABASE, "latest") == OLD
    assert newest_backup(store, DATABASE) == safety[1], "what comes next is compared with all that was stored"
    assert meant_backup(store, DATABASE, safety[0]) == safety[0]


def test_a_manifest_comes_back_with_its_root_hash() -> None:
    store = MemoryStore()
    manifest, root = put_backup(store, NEW, [b"rows\n"])
    assert load_manifest(store, DATABASE, NEW) == (manifest, root)
    assert load_manifest(store, DATABASE, "latest") == (manifest, root)


@pytest.mark.parametrize("backup_id", [OLD, "latest", "../../etc", ""])
def test_an_unknown_backup_is_named(backup_id: str) -> None:
    with pytest.raises(UnknownBackupError):
        load_manifest(MemoryStore(), DATABASE, backup_id)


def test_a_manifest_that_was_cut_or_edited_is_refused_or_has_another_root_hash() -> None:
    """B05: whatever is done to its bytes, it is an error of ours or another root hash; nothing is guessed."""
    store = MemoryStore()
    manifest, root = put_backup(store, NEW, [b"rows\n"])
    good = encode(manifest)
    chance = random.Random(1)  # noqa: S311 - a test's own chance
    for _ in range(400):
        body = bytearray(good[: chance.randrange(len(good))] if chance.random() < 0.3 else good)
        for _ in range(chance.randrange(1, 4) if body else 0):
            body[chance.randrange(len(body))] = chance.randrange(256)
        store.tamper(LAYOUT.manifest(NEW), lambda _, body=bytes(body): body)  # type: ignore[misc]
        try:
            _, found = load_manifest(store, DATABASE, NEW)
        except CoffreError:
            continue
        assert found != root or bytes(body) == good


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b" " * ((1 << 20) + 1), b"{}", b"null", b'{"format": 1, "requires": ["x"]}']
)
def test_a_bomb_or_a_stranger_is_no_manifest(body: bytes) -> None:
    """B05."""
    store = MemoryStore()
    store.put(LAYOUT.manifest(NEW), body)
    with pytest.raises(CoffreError) as caught:
        load_manifest(store, DATABASE, NEW)
    assert caught.value.code in {"manifest-invalid", "format-unsupported"}


def test_a_manifest_under_another_backups_key_is_refused() -> None:
    """B04: the object of another backup doesn't pass under this one's name."""
    store = MemoryStore()
    manifest, _ = put_backup(store, NEW, [b"rows\n"])
    with pytest.raises(ManifestInvalidError):
        decode(encode(manifest), key=LAYOUT.manifest(OLD))


text = st.text(st.characters(codec="utf-8"), max_size=30)
count = st.integers(0, 1 << 40)
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(Role, text, st.tuples(text), st.just(()), st.tuples(text, text)),
    st.builds(Relation, count, st.just("table"), text, text, text, st.tuples(st.builds(Column, text, text))),
    st.builds(Chunk, text, text, st.just("zstd"), count, count, count, text),
    st.builds(End, count, count, count, text),
)


@given(st.lists(records, max_size=20))
def test_records_come_back_as_they_were_written(some: list[Record]) -> None:
    store = MemoryStore()
    assert list(read_part(store, put_part(store, "p/", some))) == some
    assert list(read_part(Urls(store), put_part(store, "q/", some))) == some


@pytest.mark.parametrize(
    "change", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"x" + b[1:], lambda b: b[:0]]
)
def test_a_part_that_was_cut_or_changed_gives_no_record(change: object) -> None:
    """B04."""
    store = MemoryStore()
    part = put_part(store, "p/", [End(1, 2, 3, "0")])
    store.tamper(part.key, change)  # type: ignore[arg-type]
    for reader in (store, Urls(store)):
        with pytest.raises(ObjectCorruptError):
            next(read_part(reader, part))


def test_a_part_that_is_a_bomb_is_refused_in_bounded_memory() -> None:
    """B05 and B15: 1 GB of zeros behind 32 KB, whether the manifest admits it or not."""
    out = io.BytesIO()
    with zstandard.ZstdCompressor(level=3).stream_writer(out, closefd=False) as stream:
        for _ in range(1024):
            stream.write(bytes(1 << 20))
    body, store = out.getvalue(), MemoryStore()
    store.put("part", body)
    tracemalloc.start()
    for size in (100, 1 << 30):
        part = PartFile(key="part", size=len(body), sha256=digest(body), bytes=size, relations=0, chunks=0)
        with pytest.raises(ManifestInvalidError):
            list(read_part(store, part))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


@pytest.mark.parametrize(
    ("text", "size", "chunks"),
    [
        (b'{"t":"end"', None, 0),
        (b"not json\n", None, 0),
        (b'{"t":"unknown"}\n', None, 0),
        (b'{"t":"role"}\n', None, 0),
        (b"[1]\n", None, 0),
        (b"", 1, 0),
        (b"", None, 1),
    ],
)
def test_a_part_that_is_not_what_its_manifest_says_is_refused(
    text: bytes, size: int | None, chunks: int
) -> None:
    store, part = packed(text, size=size, chunks=chunks)
    with pytest.raises(ManifestInvalidError):
        list(read_part(store, part))


def test_a_part_that_is_no_zstd_frame_is_refused() -> None:
    store, body = MemoryStore(), b"plain text"
    put_object(store, "part", body)
    part = PartFile(key="part", size=len(body), sha256=digest(body), bytes=10, relations=0, chunks=0)
    with pytest.raises(ManifestInvalidError):
        list(read_part(store, part))


@pytest.mark.parametrize("harm", ["marked", "overwritten", "overwritten and marked", "longer"])
def test_a_reader_takes_the_version_whose_content_is_right(harm: str) -> None:
    store, body = MemoryStore(), b"the right content"
    store.put("key", body)
    store.put("key.longer", body)
    if "overwritten" in harm:
        store.put("key", b"another's content")
    if "longer" in harm:
        store.put("key", body + b"!")
    if "marked" in harm:
        store.mark_deleted("key")
    with fetch(store, "key", size=len(body), sha256=digest(body)) as found:
        assert found.read() == body
    version, found = locate(store, "key", size=len(body), sha256=digest(body))
    found.close()
    assert version is not None
    assert store.get("key", version).read() == body


def test_where_no_version_is_right_the_visible_one_is_blamed() -> None:
    store, body = MemoryStore(), b"the right content"
    with pytest.raises(ObjectMissingError):
        fetch(store, "key", size=len(body), sha256=digest(body))
    store.put("key", b"x")
    with pytest.raises(ObjectCorruptError):
        fetch(store, "key", size=len(body), sha256=digest(body))
