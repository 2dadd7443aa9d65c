"""An application's endpoints on the loopback: each path answers in its own way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Application:
    """A server that counts.

    Attributes
    ----------
    port:
        Where it listens, on 127.0.0.1.
    answers:
        Status by path, and where a redirect leads; a list is answered one after the other, its last one for
        ever.  A path that isn't there is 404.
    asked:
        The paths that were asked for, with the headers that came.
    """

    port: int = 0
    answers: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """The URL of a path."""
        return f"http://{host}:{self.port}{path}"

    def set(self, path: str, *statuses: int, location: str = "") -> str:
        """Let a path answer so; its URL."""
        self.answers[path] = [(status, location) for status in statuses]
        return self.url(path)


@contextmanager
def application() -> Iterator[Application]:
    """A running application."""
    app = Application()

    class Handler(BaseHTTPRequestHandler):
        """Answers by the table; ``/silent`` never does."""

        def do_GET(self) -> None:
            """Answer."""
            path = self.path.partition("?")[0]
            app.asked.append((self.path, dict(self.headers)))
            if path == "/silent":
                silence.wait()
                return
            queue = app.answers.get(path, [(404, "")])
            status, location = queue.pop(0) if len(queue) > 1 else queue[0]
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Say nothing."""

    silence = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    app.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield app
    finally:
        silence.set()
        server.shutdown()
        server.server_close()
