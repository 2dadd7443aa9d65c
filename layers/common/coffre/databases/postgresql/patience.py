"""Reads from a server's socket that let bytes gather.

A server sends rows 8 KiB at a time.  A client that takes each of them at once wakes up, and makes the server
wake somebody up, thousands of times a second.  For rows of 465 bytes over a Unix socket, a client that waits
half a millisecond spends less than half on reading them, and the server a tenth less.

A server whose rows are large is faster than that: it fills the socket's buffer and stands still until
somebody reads.  So who finds much waits for less the next time.
"""

from __future__ import annotations

import select
import ssl
import time
from types import TracebackType
from typing import Self

from coffre.databases.postgresql.connection import Session

LEAST_SECONDS, MOST_SECONDS = 0.0001, 0.0005
LITTLE, MUCH = 96 << 10, 160 << 10
"""Bytes that are read between two waits.  A Unix socket holds about 200 KiB
(``net.core.wmem_default``): from ``MUCH`` on the sender may have stood still, below ``LITTLE`` it hasn't."""


class PatientReader:
    """Reads a session's socket; use as a context manager.

    Attributes
    ----------
    gathers:
        Whether a reader who finds nothing waits a moment longer than until something is there.  Where little
        is to come, for example the rows of a small table, that moment would be all of the time.
    pause:
        Seconds of that moment.
    """

    def __init__(self, session: Session) -> None:
        self._socket = session.socket
        self._seconds: float | None = self._socket.gettimeout()
        self._arrivals = select.poll()
        self._read = 0
        self.gathers = False
        self.pause = MOST_SECONDS

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

    def _wait(self) -> None:
        if self.gathers:
            self._adapt()
            time.sleep(self.pause)
        if not self._arrivals.poll(None if self._seconds is None else self._seconds * 1000):
            raise TimeoutError(f"nothing came in {self._seconds} s")

    def _adapt(self) -> None:
        """Wait for less or for longer, as the last wait brought much or little."""
        if self._read > MUCH:
            self.pause = max(LEAST_SECONDS, self.pause * 0.75)
        elif self._read < LITTLE:
            self.pause = min(MOST_SECONDS, self.pause * 1.25)
        self._read = 0
