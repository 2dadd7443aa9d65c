"""A proxy before a store: it passes requests on as they are, or does to them what networks and stores do."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

BLOCK = 1 << 16
HOP = {"connection", "expect", "transfer-encoding"}
"""Headers between two neighbours; no signature covers them."""


@dataclass(frozen=True)
class Answer:
    """The store isn't asked; this is its answer."""

    status: int
    code: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CutRequest:
    """The connection breaks when the store has so many bytes of the body."""

    after: int


@dataclass(frozen=True)
class CutAnswer:
    """The connection breaks when the client has so many bytes of the answer's body."""

    after: int


class LostAnswer:
    """The store does what it is asked, and nobody hears of it."""


class Silence:
    """Nothing happens until the client gives up."""


Fault = Answer | CutRequest | CutAnswer | LostAnswer | Silence


class Proxy:
    """Listens on 127.0.0.1 while the block runs.

    Parameters
    ----------
    upstream:
        The store's URL; see `lead_to`.

    Attributes
    ----------
    url:
        Where to connect.
    requests:
        How many have arrived.
    written:
        The paths of all writes that have arrived.
    """

    def __init__(self, upstream: str = "") -> None:
        self.upstream = ("", 0)
        self.lead_to(upstream)
        self.requests = 0
        self.written: list[str] = []
        self._faults: deque[Fault] = deque()
        self._outages: dict[str, tuple[Fault, Callable[[], object]]] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def lead_to(self, upstream: str) -> None:
        """Stand before another store: for one that is started with the proxy's address."""
        parts = urlsplit(upstream)
        self.upstream = (str(parts.hostname), int(parts.port or 80))

    def fail(self, fault: Fault, times: int = 1) -> None:
        """Let the next requests fail, so many."""
        self._faults.extend([fault] * times)

    @contextlib.contextmanager
    def outage(self, part: str, fault: Fault, over: Callable[[], object] = lambda: False) -> Iterator[None]:
        """Let every request fail, while the block runs, whose path has ``part`` in it, until it is ``over``.

        Whether it is, each such request asks.
        """
        self._outages[part] = fault, over
        try:
            yield
        finally:
            del self._outages[part]

    def take(self, method: str, path: str) -> Fault | None:
        """What happens to the request that has just arrived."""
        with self._lock:
            self.requests += 1
            if method == "PUT":
                self.written.append(path)
            if self._faults:
                return self._faults.popleft()
        outages = list(self._outages.items())
        return next((fault for part, (fault, over) in outages if part in path and not over()), None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: Proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        fault = self.server.proxy.take(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if isinstance(fault, Answer):
            self._answer(fault)
        elif isinstance(fault, Silence):
            self.close_connection = True
            self.connection.recv(1)
        else:
            with contextlib.closing(http.client.HTTPConnection(*self.server.proxy.upstream)) as upstream:
                self._pass_on(upstream, body, fault)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self, answer: Answer) -> None:
        body = f"<Error><Code>{answer.code}</Code></Error>".encode()
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":  # whose answers have no body: the client would take it for its next answer
            self.wfile.write(body)

    def _pass_on(self, upstream: http.client.HTTPConnection, body: bytes, fault: Fault | None) -> None:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP:
                upstream.putheader(name, value)
        upstream.endheaders()
        if isinstance(fault, CutRequest):
            upstream.send(body[: fault.after])
            self.close_connection = True
            return
        upstream.send(body)
        answer = upstream.getresponse()
        if isinstance(fault, LostAnswer):
            answer.read()
            self.close_connection = True
            return
        self._return(answer, fault.after if isinstance(fault, CutAnswer) else None)

    def _return(self, answer: http.client.HTTPResponse, limit: int | None) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in HOP:
                self.send_header(name, value)
        chunked = answer.headers.get("Transfer-Encoding") is not None
        content = answer.read() if chunked else b""
        if chunked:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if limit is not None:
            self.wfile.write(answer.read(limit))
            self.close_connection = True
            return
        self.wfile.write(content)
        while block := answer.read(BLOCK):
            self.wfile.write(block)
