"""Fewer parts than workers wrote, where a manifest couldn't name all of them.

Each batch of a backup on the state machine has a part, and so has each rest that a worker had no time for:
that may be tens of thousands.  How parts are divided is nobody's to rely on (``docs/format.md``), so their
lines are copied into larger ones.  What was joined is an orphan of the attempt, which rotation deletes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from math import ceil
from pathlib import Path

import zstandard

from coffre.vault.files import put_file
from coffre.vault.manifest import PartFile
from coffre.vault.parts import LEVEL
from coffre.vault.reader import read_text
from coffre.vault.store import ObjectStore

MOST_PARTS = 2000
"""Each takes up to 400 bytes of the manifest's 1 MiB; references and all else need some of it, too."""

THREADS = 8
"""They wait for the store most of the time: one after the other, parts would take minutes."""


def join_parts(store: ObjectStore, prefix: str, parts: Sequence[PartFile], folder: Path) -> list[PartFile]:
    """These parts, or `MOST_PARTS` at most that hold the same records in the same order.

    Parameters
    ----------
    prefix:
        Of what the attempt writes.
    folder:
        Scratch space of this run.

    Raises
    ------
    ObjectMissingError, ObjectCorruptError, ManifestInvalidError, StoreUnavailableError, DiskFullError
    """
    if len(parts) <= MOST_PARTS:
        return list(parts)
    several = ceil(len(parts) / MOST_PARTS)

    def join(at: int) -> PartFile:
        name = f"joined-{at // several + 1:06d}"
        key = f"{prefix}parts/{name}-{{sha256}}.ndjson.zst"
        return _join(store, parts[at : at + several], folder / name, key)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(join, range(0, len(parts), several)))


def _join(store: ObjectStore, parts: Sequence[PartFile], path: Path, key: str) -> PartFile:
    packed = zstandard.ZstdCompressor(level=LEVEL)
    with path.open("wb") as file, packed.stream_writer(file) as out:
        for part in parts:
            for block in read_text(store, part):
                out.write(block)
    stored = put_file(store, path, key)
    path.unlink()
    return PartFile(
        **asdict(stored),
        bytes=sum(part.bytes for part in parts),
        relations=sum(part.relations for part in parts),
        chunks=sum(part.chunks for part in parts),
    )
