"""Looks at the machine's processes from outside while something runs."""

from __future__ import annotations

import threading
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
        self._before = {place.name for place in Path("/proc").glob("[0-9]*")}
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

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            for place in Path("/proc").glob("[0-9]*"):
                self._look(place)

    def _look(self, place: Path) -> None:
        try:
            command = (place / "cmdline").read_bytes()
            environment = (place / "environ").read_bytes()
            status = (place / "status").read_text()
        except OSError:
            return  # it has ended, or isn't ours
        if place.name not in self._before:
            self.seen.add((command + environment).replace(b"\0", b" ").decode(errors="replace"))
        peak = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
        if peak is not None and b"python" in command.split(b"\0")[0] and self._marker in environment:
            self.peaks[int(place.name)] = int(peak.split()[1])
