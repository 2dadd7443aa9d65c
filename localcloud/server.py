"""The HTTP server: moto behind one lock a service, Lambda invocations and the control endpoint.

moto is not thread-safe: without locks 195 of 200 atomic increments arrive, and one ``IfNoneMatch`` has
two winners. A request is read whole, then handled under the lock of its service. Invocations never come near
moto, so that a function may run for minutes and call others meanwhile.
"""

import contextlib
import io
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from flask import Flask
from moto.moto_server import werkzeug_app
from werkzeug.serving import ThreadedWSGIServer
from werkzeug.test import run_wsgi_app

_logger = logging.getLogger(__name__)

# Long polling would keep the queue's senders waiting: moto_patches locks it in short turns.
_LOCKED_ELSEWHERE = {"AmazonSQS.ReceiveMessage"}

_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Response:
    """An HTTP response.

    Attributes:
        status: code.
        body: bytes.
        headers: names and values; ``Content-Length`` is added unless it is there.
    """

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


Route = Callable[[str, str, dict[str, Any], bytes], Response | None]
"""Takes method, path, WSGI environment and body; returns None if the request isn't its own."""


def json_response(status: int, content: Any, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """A response with a JSON body."""
    body = json.dumps(content).encode()
    return Response(status, body, [("Content-Type", "application/json"), *headers])


class _Dispatcher(werkzeug_app.DomainDispatcherApplication):
    """moto's dispatcher, which matches each request against hundreds of patterns; this one remembers."""

    def __init__(self) -> None:
        super().__init__(werkzeug_app.create_backend_app)
        self.get_backend_for_host = cache(super().get_backend_for_host)  # type: ignore[method-assign]


class Application:
    """All requests come here.

    Args:
        routes: asked in turn before moto.

    Attributes:
        routes: the same; more may be appended.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = list(routes)
        self._dispatcher = _Dispatcher()
        self._locks: dict[str, threading.RLock] = {}

    def lock(self, service: str) -> threading.RLock:
        """The lock of a service, by moto's name for it."""
        return self._locks.setdefault(service, threading.RLock())

    def handle(self, environ: dict[str, Any]) -> Response:
        """Handle a request whose body has not been read yet."""
        body = _read_body(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        if environ["REQUEST_METHOD"] == "PUT" and environ.get("CONTENT_TYPE") == _FORM:
            # Simple HTTP clients say so of any body; moto would take an object's for a form and lose it.
            environ["CONTENT_TYPE"] = "binary/octet-stream"
        try:
            for route in self.routes:
                response = route(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ, body)
                if response is not None:
                    return response
            return self._moto(environ)
        except Exception:
            _logger.exception("%s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            return json_response(500, {"__type": "InternalFailure", "message": "see the local cloud's log"})

    def _moto(self, environ: dict[str, Any]) -> Response:
        app = self._dispatcher.get_application(environ)
        if environ.get("HTTP_X_AMZ_TARGET") in _LOCKED_ELSEWHERE:
            return _run(app, environ)
        with self.lock(app.service):  # type: ignore[attr-defined]
            return _run(app, environ)


def _run(app: Flask, environ: dict[str, Any]) -> Response:
    content, status, headers = run_wsgi_app(app, environ, buffered=True)
    return Response(int(status.split(maxsplit=1)[0]), b"".join(content), list(headers))


def _read_body(environ: dict[str, Any]) -> bytes:
    stream = environ["wsgi.input"]
    if length := environ.get("CONTENT_LENGTH"):
        return bytes(stream.read(int(length)))
    if environ.pop("wsgi.input_terminated", False):
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        body = bytes(stream.read())
        environ["CONTENT_LENGTH"] = str(len(body))
        return body
    return b""


class _Handler(werkzeug_app.MotoRequestHandler):
    """HTTP/1.1 with connections kept alive; werkzeug's own handler closes each."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle_expect_100(self) -> bool:
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def run_wsgi(self) -> None:
        response = self.server.application.handle(self.make_environ())
        lines = [f"HTTP/1.1 {response.status} {self.responses.get(response.status, ('Unknown',))[0]}"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        names = {name.lower() for name, _ in response.headers}
        bodiless = self.command == "HEAD" or response.status in (204, 304)
        if "content-length" not in names and response.status != 204:
            lines.append(f"Content-Length: {len(response.body)}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        try:
            if bodiless:
                self.wfile.write(head)
            elif len(response.body) < 65536:
                self.wfile.write(head + response.body)
            else:
                self.wfile.write(head)
                self.wfile.write(response.body)
        except OSError:
            self.close_connection = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: an access log costs more than small requests do."""


class Server(ThreadedWSGIServer):
    """Serves an application on this machine only.

    Args:
        application: handles the requests.
        port: 0 chooses a free one.

    Raises:
        OSError: the port is taken.
    """

    allow_reuse_address = True

    def __init__(self, application: Application, port: int) -> None:
        self.application = application
        self.connections: set[socket.socket] = set()
        with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
            # Handing over an open socket keeps werkzeug from ending the process when the port is taken.
            super().__init__("127.0.0.1", port, _no_app, _Handler, fd=listener.fileno())
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True, name="endpoints").start()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        """Stop accepting, and end the connections that are open."""
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _no_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    raise NotImplementedError("the handler calls the application itself")
