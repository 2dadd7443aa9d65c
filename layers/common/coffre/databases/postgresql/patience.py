"""Reads from a server's socket that let bytes gather.

A server sends rows 8 KiB at a time.  A client that takes each of them at once wakes up, and makes the server
wake somebody up, thousands of times a second.  For rows of 465 bytes over a Unix socket, a client that waits
half a millisecond spends less than half on reading them, and the server a tenth less.
"""

from __future__ import annotations

import select
import ssl
import time
from types import TracebackType
from typing import Self

from coffre.databases.postgresql.connection import Session

GATHER_SECONDS = 0.0005
"""Less arrives in this time than a socket's buffer holds, so the server needn't wait."""


class PatientReader:
    """Reads a session's socket; use as a context manager.

    Attributes
    ----------
    gathers:
        Whether a reader who finds nothing waits a moment longer than until something is there.  Where little
        is to come, for example the rows of a small table, that moment would be all of the time.
    """

    def __init__(self, session: Session) -> None:
        self._socket = session.socket
        self._seconds: float | None = self._socket.gettimeout()
        self._arrivals = select.poll()
        self.gathers = False

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
                return got

    def _wait(self) -> None:
        if self.gathers:
            time.sleep(GATHER_SECONDS)
        if not self._arrivals.poll(None if self._seconds is None else self._seconds * 1000):
            raise TimeoutError(f"nothing came in {self._seconds} s")
