"""Looks at the machine's processes from outside while something runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

INTERVAL_SECONDS = 0.01


class Processes:
    """What is seen of processes while the block runs.

    Parameters
    ----------
    marker:
        What the environment of the processes holds whose memory is measured.

    Attributes
    ----------
    seen:
        Command line and environment, as one text, of each process that was started meanwhile.
    peaks:
        The highest resident set, in KiB, that each Python process with the marker ever had, by process id.
    """

    def __init__(self, marker: str) -> None:
        self.seen: set[str] = set()
        self.peaks: dict[int, int] = {}
        self._marker = marker.encode()
        self._before = {place.name for place in _processes()}
        self._ours = {place.name for place in _processes() if self._is_ours(place)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def saw(self, *words: str) -> bool:
        """Whether there was a process in whose command line and environment all of these are."""
        return any(all(word in text for word in words) for text in self.seen.copy())

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            for place in _processes():  # the others, whose number may be large, aren't read again and again
                if place.name in self._ours or place.name not in self._before:
                    self._look(place)

    def _look(self, place: Path) -> None:
        try:
            if place.name not in self._before:
                self.seen.add(_text(place).replace(b"\0", b" ").decode(errors="replace"))
            status = (place / "status").read_text()
        except OSError:
            return  # it has ended, or isn't ours
        peak = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
        if peak is not None and self._is_ours(place):
            self.peaks[int(place.name)] = int(peak.split()[1])

    def _is_ours(self, place: Path) -> bool:
        """Whether it is a Python process with the marker."""
        try:
            return b"python" in _text(place).split(b"\0")[0] and self._marker in _text(place)
        except OSError:
            return False


def _processes() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*")


def _text(place: Path) -> bytes:
    """Command line and environment."""
    return (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
