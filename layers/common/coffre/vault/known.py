"""What an earlier backup recorded of the vault's chunks: a sorted file that is searched in place.

A chunk that is there already may be used again only if the store still reports the size and the checksum that
were recorded when it was last checked.  The record lies in scratch space as fixed-length entries and is
mapped, not loaded, so its size doesn't show in a process's memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path

from coffre.vault.parts import Chunk

_ID, _SHA, _SIZE = 32, 32, 8
_ENTRY = _ID + _SHA + _SIZE


def write_known(chunks: Iterable[Chunk], path: Path) -> int:
    """Write the entries of ``chunks`` to ``path``, sorted by id; their number."""
    entries = sorted(
        {bytes.fromhex(c.id) + bytes.fromhex(c.sha256) + c.stored.to_bytes(_SIZE, "big") for c in chunks}
    )
    path.write_bytes(b"".join(entries))
    return len(entries)


class KnownChunks:
    """The entries in a file that `write_known` made."""

    def __init__(self, path: Path | None) -> None:
        self._map: mmap.mmap | bytes = b""
        if path is not None and path.stat().st_size:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._count = len(self._map) // _ENTRY

    def find(self, chunk_id: str) -> tuple[int, str] | None:
        """The recorded stored size and SHA-256 (hex) of a chunk; None if it isn't recorded."""
        wanted = bytes.fromhex(chunk_id)
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._map[middle * _ENTRY : middle * _ENTRY + _ID] < wanted:
                low = middle + 1
            else:
                high = middle
        entry = self._map[low * _ENTRY : (low + 1) * _ENTRY]
        if entry[:_ID] != wanted:
            return None
        return int.from_bytes(entry[_ID + _SHA :], "big"), entry[_ID : _ID + _SHA].hex()
