"""Memory that text is written into, and read from, without being copied on the way."""

from __future__ import annotations


class TextBuffer:
    """Bytes that grow at the end and are dropped from the front; the memory is used again.

    Attributes
    ----------
    size:
        Bytes that it holds.
    """

    def __init__(self, capacity: int = 1 << 17) -> None:
        self._memory = memoryview(bytearray(capacity))
        self.size = 0

    def room(self, size: int) -> memoryview:
        """``size`` bytes behind what is held, to be written to; see `add`."""
        needed = self.size + size
        if needed > len(self._memory):
            larger = memoryview(bytearray(max(needed, 2 * len(self._memory))))
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
