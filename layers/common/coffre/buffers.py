"""Memory that text is written into, and read from, without being copied on the way."""

from __future__ import annotations

import mmap

RESERVED = 64 << 20
"""Bytes of addresses that a buffer takes: room for the largest chunk that is held.  Memory is taken page by
page, where it is written to, and stays in one place: what grows by copies leaves its old ones behind."""


class TextBuffer:
    """Bytes that grow at the end and are dropped from the front; the memory is used again.

    Attributes
    ----------
    size:
        Bytes that it holds.
    """

    def __init__(self, reserved: int = RESERVED) -> None:
        self._memory = _memory(reserved)
        self.size = 0

    def room(self, size: int) -> memoryview:
        """``size`` bytes behind what is held, to be written to; see `add`."""
        needed = self.size + size
        if needed > len(self._memory):
            larger = _memory(max(needed, 2 * len(self._memory)))
            larger[: self.size] = self._memory[: self.size]
            self._memory = larger
        return self._memory[self.size : needed]

    def add(self, size: int) -> None:
        """Hold the first ``size`` bytes of the last `room`, too."""
        self.size += size

    def append(self, text: bytes) -> None:
        """Hold ``text``, too."""
        self.room(len(text))[:] = text
        self.size += len(text)

    def view(self, start: int = 0, end: int | None = None) -> memoryview:
        """What is held between two places, by default all of it: valid until more is written, or dropped."""
        return self._memory[start : self.size if end is None else end]

    def drop(self, size: int) -> None:
        """Forget the first ``size`` bytes."""
        rest = self.size - size
        self._memory[:rest] = self._memory[size : self.size]
        self.size = rest


def _memory(size: int) -> memoryview:
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
