"""Looks at the machine's processes from outside while something runs."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

INTERVAL_SECONDS = 0.01


class Processes:
    """What was seen of all processes while the block ran.

    Attributes
    ----------
    seen:
        Command line and environment of each process, as one text.
    peaks:
        The highest resident set in KiB of each Python process that was started meanwhile, by process id.
    """

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.peaks: dict[int, int] = {}
        self._before = {int(place.name) for place in Path("/proc").glob("[0-9]*")}
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
                if int(place.name) not in self._before:
                    self._look(place)

    def _look(self, place: Path) -> None:
        try:
            command = (place / "cmdline").read_bytes()
            environment = (place / "environ").read_bytes()
            status = (place / "status").read_text()
        except OSError:
            return  # it has ended, or isn't ours
        self.seen.add((command + environment).replace(b"\0", b" ").decode(errors="replace"))
        peak = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
        if peak is not None and b"python" in command.split(b"\0")[0]:
            self.peaks[int(place.name)] = int(peak.split()[1])
