"""DynamoDB on loopback: moto's.  Run as a program it prints its port."""

from __future__ import annotations

import threading

from moto.server import ThreadedMotoServer


def serve() -> None:
    """Serve until the process is ended."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    serve()
