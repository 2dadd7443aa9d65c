"""A line to a PostgreSQL server that fails at one request, the n-th that any client of it sends.

A request is a block that a client sends: the driver and ``pg_dump`` send each statement as one.  A network
can't double what it carries (TCP numbers its bytes), so that way of failing doesn't exist here.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.faults.injection import Way

WAYS = [way for way in Way if way is not Way.DOUBLED]


def _error(state: str, text: str) -> bytes:
    """An ErrorResponse."""
    fields = f"SFATAL\0VFATAL\0C{state}\0M{text}\0\0".encode()
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


class FaultyLine:
    """Listens on 127.0.0.1 before a server's unix socket while the block runs.

    Attributes
    ----------
    port:
        Where to connect.
    requests:
        How many there were since `arm`.
    on_kill:
        Kills the client's process.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.requests = 0
        self.on_kill: Callable[[], None] = lambda: None
        self._number, self._way = -1, Way.ERROR
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.hang_up()

    def arm(self, number: int, way: Way) -> None:
        """Let the request with this number, counted from now, fail."""
        with self._lock:
            self.requests, self._number, self._way = 0, number, way

    def hang_up(self) -> None:
        """End all connections."""
        with self._lock:
            ends, self._open = self._open, []
        for end in ends:
            _end(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._path)
            with self._lock:
                self._open += [client, server]
            answers = _Answers(server, client)
            threading.Thread(target=answers.run, daemon=True).start()
            threading.Thread(target=self._requests, args=(client, server, answers), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, answers: _Answers) -> None:
        try:
            while data := client.recv(1 << 16):
                with self._lock:
                    fails = self.requests == self._number
                    self.requests += 1
                if fails and not self._fail(data, client, server, answers):
                    break
                if not fails:
                    server.sendall(data)
        except OSError:
            pass
        _end(client)
        _end(server)

    def _fail(self, data: bytes, client: socket.socket, server: socket.socket, answers: _Answers) -> bool:
        """Fail; whether the connection stays open."""
        way = self._way
        if way is Way.KILLED_BEFORE:
            self.on_kill()
            return False
        if way is Way.ERROR:
            client.sendall(_error("57P01", "terminating connection due to administrator command"))
            return False
        answers.way = way
        server.sendall(data)
        if way is Way.KILLED_AFTER:
            self.on_kill()
            return False
        return True


class _Answers:
    """What the server says, until ``way`` says otherwise."""

    def __init__(self, server: socket.socket, client: socket.socket) -> None:
        self._server = server
        self._client = client
        self.way: Way | None = None

    def run(self) -> None:
        """Carry it."""
        try:
            while data := self._server.recv(1 << 16):
                if self.way is Way.TIMEOUT:
                    continue
                if self.way is Way.CUT:
                    self._client.sendall(data[: len(data) // 2])
                    break
                self._client.sendall(data)
            if self.way is Way.TIMEOUT:
                return
        except OSError:
            pass
        _end(self._client)
        _end(self._server)


def _end(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
