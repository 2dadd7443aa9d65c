"""What a backup uses of the one before it is a help that it can do without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coffre.backup.feed import write_known_chunks
from coffre.vault.known import KnownChunks
from coffre.vault.manifest import PartFile
from coffre.vault.parts import Chunk
from coffre.vault.reader import read_part
from tests.fakes.store import MemoryStore
from tests.fakes.vault import DATABASE, put_backup


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda store, part: store.mark_deleted(part.key), True),
        (lambda store, part: store.put(part.key, b"newer and wrong"), True),
        (lambda store, part: store.tamper(part.key, lambda body: body[:-1]), False),
        (lambda store, part: store.lose(part.key), False),
    ],
    ids=["hidden", "newer and wrong", "damaged", "gone"],
)
def test_a_part_of_the_newest_backup_is_looked_for_behind_what_hides_it_and_done_without(
    tmp_path: Path, harm: Callable[[MemoryStore, PartFile], None], found: bool
) -> None:
    store, path = MemoryStore(), tmp_path / "known"
    manifest, _ = put_backup(store, "20261120T030000Z-daily-000000", [b"row\n"])
    [part] = manifest.parts
    [chunk] = [record for record in read_part(store, part) if isinstance(record, Chunk)]
    harm(store, part)
    write_known_chunks(store, DATABASE, path)
    assert path.exists() == found
    assert not found or KnownChunks(path).find(chunk.id) == (chunk.stored, chunk.sha256)
