"""Chunks that the last backup recorded are found, exactly, and no others."""

from __future__ import annotations

import hashlib
from pathlib import Path

from coffre.vault.known import KnownChunks, write_known
from coffre.vault.parts import Chunk


def chunk(number: int, stored: int = 10) -> Chunk:
    identifier = hashlib.sha256(b"%d" % number).hexdigest()
    return Chunk(identifier, "key", "zstd", 1, 1, stored, hashlib.sha256(b"body %d" % number).hexdigest())


def test_every_recorded_chunk_is_found_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "known"
    for count in (1, 2, 3, 100, 257):
        chunks = [chunk(number, stored=number + (1 << 40)) for number in range(count)]
        assert write_known(chunks, path) == count
        known = KnownChunks(path)
        for recorded in chunks:
            assert known.find(recorded.id) == (recorded.stored, recorded.sha256)
        for number in range(count, count + 100):
            assert known.find(chunk(number).id) is None
        assert known.find("0" * 64) is None
        assert known.find("f" * 64) is None


def test_a_chunk_that_several_relations_share_is_recorded_once(tmp_path: Path) -> None:
    assert write_known([chunk(1), chunk(1), chunk(2)], tmp_path / "known") == 2


def test_without_an_earlier_backup_nothing_is_known(tmp_path: Path) -> None:
    assert KnownChunks(None).find(chunk(1).id) is None
    write_known([], tmp_path / "known")
    assert KnownChunks(tmp_path / "known").find(chunk(1).id) is None
