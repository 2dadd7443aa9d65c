"""A narrow line to a PostgreSQL server: what is read through it takes its time, on however fast a machine."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

BLOCK = 1 << 16


class NarrowLine:
    """Listens on a port of 127.0.0.1 before a server's unix socket while the block runs.

    Parameters
    ----------
    path:
        The socket.
    bytes_per_second:
        How fast each connection carries what the server sends; without it, as fast as it can.

    Attributes
    ----------
    port:
        Where to connect.
    bytes_per_second:
        The same; it may be changed at any moment.
    """

    def __init__(self, path: str, bytes_per_second: float = float("inf")) -> None:
        self.bytes_per_second = bytes_per_second
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stops_at, self._stopped = b"", threading.Event()
        self._accepting = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()

    def stop_at(self, text: bytes) -> threading.Event:
        """Keep what the first client sends that says this; the event tells when."""
        self._stops_at = text
        return self._stopped

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(self._path)
                except OSError:  # nobody is there, as at a server that is down
                    client.close()
                    continue
                for carry, ends in ((self._ask, (client, server)), (self._answer, (server, client))):
                    threading.Thread(target=self._carry, args=(carry, *ends), daemon=True).start()

    def _ask(self, block: bytes, server: socket.socket) -> None:
        if self._stops_at and self._stops_at in block:
            self._stops_at = b""
            self._stopped.set()
            return
        server.sendall(block)

    def _answer(self, block: bytes, client: socket.socket) -> None:
        """A block takes its time."""
        client.sendall(block)
        time.sleep(len(block) / self.bytes_per_second)

    @staticmethod
    def _carry(
        carry: Callable[[bytes, socket.socket], None], source: socket.socket, sink: socket.socket
    ) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(BLOCK):
                carry(block, sink)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
