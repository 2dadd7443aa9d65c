"""A lean S3 endpoint on loopback, so that a measurement shows the product and not a test server.

It keeps objects in a folder (on tmpfs), demands that lengths are right, honours ``If-None-Match: *`` and
gives back the checksums that it was given.  It checks neither them nor signatures: what both cost a client is
still paid by the client.  Run as a program it prints its port.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

STAMP = "2026-01-01T00:00:00.000Z"
MIB = 1 << 20
CHECKSUM = "x-amz-checksum-sha256"


class Endpoint:
    """One connection.

    Parameters
    ----------
    checksums:
        By the object's path; shared by all connections.
    """

    def __init__(self, connection: socket.socket, folder: Path, checksums: dict[Path, str]) -> None:
        self._connection = connection
        self._folder = folder
        self._checksums = checksums
        self._buffer = bytearray(MIB)

    def serve(self) -> None:
        """Answer requests until the client hangs up."""
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        rest = b""
        while True:
            while (end := rest.find(b"\r\n\r\n")) < 0:
                block = self._connection.recv(1 << 16)
                if not block:
                    return
                rest += block
            first, *lines = rest[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            if headers.get("expect") == "100-continue":
                self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            length = int(headers.get("content-length", 0))
            body = self._body(rest[end + 4 : end + 4 + length], length)
            if body is None:
                return
            rest = rest[end + 4 + length :]
            method, target, _ = first.split(" ", 2)
            self._handle(method, target, headers, body)

    def _body(self, begun: bytes, length: int) -> memoryview | None:
        """Read the rest of a body, into memory that is used again; None if the client hung up."""
        if length > len(self._buffer):
            self._buffer = bytearray(length)
        view = memoryview(self._buffer)[:length]
        view[: len(begun)] = begun
        filled = len(begun)
        while filled < length:
            got = self._connection.recv_into(view[filled:])
            if not got:
                return None
            filled += got
        return view

    def _handle(self, method: str, target: str, headers: dict[str, str], body: memoryview) -> None:
        parts = urlsplit(target)
        key = unquote(parts.path).split("/", 2)[2] if parts.path.count("/") > 1 else ""
        query = parse_qs(parts.query, keep_blank_values=True)
        path = self._folder / quote(key, safe="")
        if method == "PUT":
            self._put(path, headers, body)
        elif "versioning" in query:
            self._answer(200, b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
        elif "lifecycle" in query:
            self._answer(404, b"<Error><Code>NoSuchLifecycleConfiguration</Code></Error>")
        elif not key:
            self._list(query)
        elif not path.exists():
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", send=method != "HEAD")
        elif method == "HEAD":
            self._head(path)
        else:
            self._send(path)

    def _put(self, path: Path, headers: dict[str, str], body: memoryview) -> None:
        if headers.get("if-none-match") == "*" and path.exists():
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        path.write_bytes(body)
        self._checksums[path] = (
            headers.get(CHECKSUM) or base64.b64encode(hashlib.sha256(body).digest()).decode()
        )
        self._answer(200, b"", {"ETag": '"0"'})

    def _head(self, path: Path) -> None:
        self._start(200, path.stat().st_size, {CHECKSUM: self._checksums[path]})

    def _send(self, path: Path) -> None:
        with path.open("rb") as file:
            size = path.stat().st_size
            self._start(200, size, {})
            if size:
                self._connection.sendfile(file)

    def _list(self, query: dict[str, list[str]]) -> None:
        prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
        keys = sorted(unquote(path.name) for path in self._folder.iterdir())
        keys = [key for key in keys if key.startswith(prefix)]
        if delimiter:
            below = {prefix + key.removeprefix(prefix).partition(delimiter)[0] + delimiter for key in keys}
            found = "".join(
                f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(below)
            )
        else:
            found = "".join(map(self._entry, keys))
        self._answer(
            200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()
        )

    def _entry(self, key: str) -> str:
        size = (self._folder / quote(key, safe="")).stat().st_size
        content = f"<Key>{escape(key)}</Key><Size>{size}</Size><LastModified>{STAMP}</LastModified>"
        return f"<Contents>{content}</Contents>"

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, send: bool = True
    ) -> None:
        self._start(status, len(body), headers or {}, body if send else b"")

    def _start(self, status: int, length: int, headers: dict[str, str], body: bytes = b"") -> None:
        lines = [
            f"HTTP/1.1 {status} X",
            f"Content-Length: {length}",
            "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT",
        ]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def serve(folder: Path) -> None:
    """Serve on a free port, which is printed, until the process is ended."""
    checksums: dict[Path, str] = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=Endpoint(connection, folder, checksums).serve, daemon=True).start()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
