"""A narrow line to a PostgreSQL server: what is read through it takes its time, on however fast a machine."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

BLOCK = 1 << 16


@contextlib.contextmanager
def narrow_line(path: str, bytes_per_second: int) -> Iterator[int]:
    """Listen on a port of 127.0.0.1 before a server's unix socket while the block runs.

    Parameters
    ----------
    path:
        The socket.
    bytes_per_second:
        How fast each connection carries what the server sends.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, path, bytes_per_second))
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listener: socket.socket, path: str, bytes_per_second: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(path)
            except OSError:  # nobody is there, as at a server that is down
                client.close()
                continue
            for ends, pause in (((client, server), 0.0), ((server, client), BLOCK / bytes_per_second)):
                threading.Thread(target=_carry, args=(*ends, pause), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket, pause: float) -> None:
    """Carry all that comes; a block that is full takes its time."""
    with contextlib.suppress(OSError):
        while block := source.recv(BLOCK):
            sink.sendall(block)
            time.sleep(pause * len(block) / BLOCK)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
