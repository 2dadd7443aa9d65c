"""Reads from a server's socket that let bytes gather.

A server sends rows 8 KiB at a time.  A client that takes each of them at once wakes up, and makes the server
wake somebody up, thousands of times a second.  For rows of 465 bytes over a Unix socket, a client that waits
half a millisecond spends less than half on reading them, and the server a tenth less.

With large values a server is faster than that: it fills the socket's buffer (a Unix socket's holds about
200 KiB) and stands still until somebody reads.  So those are waited for less.
"""

from __future__ import annotations

import select
import ssl
import time
from types import TracebackType
from typing import Self

from coffre.databases.postgresql.connection import Session

PAUSE_SECONDS, SHORT_SECONDS = 0.0005, 0.0001
LARGE_BYTES = 16 << 10
"""Of a row, on average, from which on the shorter pause is taken."""


class PatientReader:
    """Reads a session's socket; use as a context manager.

    Attributes
    ----------
    pause:
        Seconds that a reader who finds nothing waits before it looks again; 0: until something is there, and
        no longer.  Where little is to come, for example the rows of a small table, a pause would be all of
        the time: so there is none before `gather`.
    """

    def __init__(self, session: Session) -> None:
        self._socket = session.socket
        self._seconds: float | None = self._socket.gettimeout()
        self._arrivals = select.poll()
        self._read = 0
        self.pause = 0.0

    def __enter__(self) -> Self:
        self._arrivals.register(self._socket, select.POLLIN)
        self._socket.setblocking(False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.settimeout(self._seconds)

    def read_into(self, room: memoryview) -> int:
        """Read what is there, at least one byte; none if the server closed the session.

        Raises
        ------
        OSError
            Also if nothing comes in the time that the session allows.
        """
        while True:
            try:
                got: int = self._socket.recv_into(room)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self._wait()
            else:
                self._read += got
                return got

    def gather(self, rows: int) -> None:
        """Pause from now on where nothing is there.

        Parameters
        ----------
        rows:
            How many whole ones were in what was read so far.
        """
        self.pause = SHORT_SECONDS if self._read > LARGE_BYTES * (rows + 1) else PAUSE_SECONDS

    def _wait(self) -> None:
        if self.pause:
            time.sleep(self.pause)
        if not self._arrivals.poll(None if self._seconds is None else self._seconds * 1000):
            raise TimeoutError(f"nothing came in {self._seconds} s")
