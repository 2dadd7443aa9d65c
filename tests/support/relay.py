"""A TCP relay before a server's unix socket: it gives the server an address, and may change what it says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

Change = Callable[[bytes], bytes]


def unchanged(data: bytes) -> bytes:
    """Relay as it is."""
    return data


class Relay:
    """Listens on 127.0.0.1 while the block runs.

    Parameters
    ----------
    path:
        The server's unix socket.
    change:
        Applied to each block that the server sends.

    Attributes
    ----------
    port:
        Where to connect.
    """

    def __init__(self, path: str, change: Change = unchanged) -> None:
        self._path = path
        self._change = change
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join()
        for end in self._open:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._path)
            self._open += [client, server]
            for source, sink, change in ((client, server, unchanged), (server, client, self._change)):
                thread = threading.Thread(target=_pump, args=(source, sink, change))
                self._threads.append(thread)
                thread.start()


def _pump(source: socket.socket, sink: socket.socket, change: Change) -> None:
    try:
        while data := source.recv(1 << 16):
            sink.sendall(change(data))
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return
