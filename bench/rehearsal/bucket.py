"""A versioned bucket on loopback that counts its requests and lies in one SQLite file, not in memory.

It answers what `coffre.vault.store` asks: conditional writes, delete markers, versions, listings of a
thousand keys.  A key's ``size`` in listings may be larger than its body, so that a vault of terabytes takes a
gigabyte of disk.  It checks neither checksums nor signatures.  Run as a program it prints its port.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import socketserver
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

PAGE = 1000
"""Keys in a listing at most, as in S3."""

COUNTS = "_counts"
"""Where the number of requests since the last question is told; no bucket has this name."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS bodies (sha256 BLOB PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    key TEXT, age INTEGER, sha256 BLOB, size INTEGER, modified INTEGER, PRIMARY KEY (key, age)
) WITHOUT ROWID;
"""
"""``age`` counts backwards, so the newest version of a key comes first; a marker has no ``sha256``."""

_XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"

Row = tuple[str, int, bytes | None, int, int]


class Shelf:
    """The bucket's file.

    Parameters
    ----------
    path:
        It may be filled by another process while no request is under way.
    """

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.executescript(SCHEMA)
        self._lock = threading.RLock()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def add(self, key: str, body: bytes, modified: int) -> None:
        """Put a new version on top."""
        digest = hashlib.sha256(body).digest()
        self._run("INSERT OR IGNORE INTO bodies VALUES (?, ?)", digest, body)
        self._insert(key, digest, len(body), modified)

    def fill(self, bodies: Iterable[bytes], links: Iterable[tuple[str, bytes, int, int]]) -> None:
        """Put many first versions there at once: bodies, and what refers to them.

        Parameters
        ----------
        links:
            Key, SHA-256 of the body, size as listings tell it, time.
        """
        with self._lock:
            self._file.execute("BEGIN")
            hashed = ((hashlib.sha256(body).digest(), body) for body in bodies)
            self._file.executemany("INSERT OR IGNORE INTO bodies VALUES (?, ?)", hashed)
            self._file.executemany("INSERT INTO objects VALUES (?, -1, ?, ?, ?)", links)
            self._file.execute("COMMIT")

    def hide(self, key: str, modified: int) -> None:
        """Put a delete marker on top."""
        self._insert(key, None, 0, modified)

    def delete(self, key: str, age: int) -> None:
        """Remove one version or marker for good."""
        self._run("DELETE FROM objects WHERE key = ? AND age = ?", key, age)

    def change(self, changes: Iterable[tuple[str, int | None]], modified: int) -> None:
        """Remove many versions for good, and hide the keys whose version isn't named."""
        with self._lock:
            self._file.execute("BEGIN")
            for key, age in changes:
                if age is None:
                    self.hide(key, modified)
                else:
                    self.delete(key, age)
            self._file.execute("COMMIT")

    def find(self, key: str, age: int | None = None) -> Row | None:
        """The newest version, or one; a marker is one, too."""
        which = "" if age is None else "AND age = ?"
        given = (key,) if age is None else (key, age)
        rows = self._run(f"SELECT * FROM objects WHERE key = ? {which} ORDER BY age LIMIT 1", *given)
        return rows[0] if rows else None

    def body(self, digest: bytes) -> bytes:
        """An object's bytes."""
        with self._lock:
            query = "SELECT body FROM bodies WHERE sha256 = ?"
            found: tuple[bytes] = self._file.execute(query, (digest,)).fetchone()
        return found[0]

    def visible(self, prefix: str, after: str, most: int = PAGE + 1) -> list[Row]:
        """The next keys of a listing, and one more if there are more."""
        latest = "NOT EXISTS (SELECT 1 FROM objects n WHERE n.key = o.key AND n.age < o.age)"
        query = f"SELECT * FROM objects o WHERE key > ? AND key < ? AND sha256 IS NOT NULL AND {latest}"
        return self._run(f"{query} ORDER BY key LIMIT {most}", max(after, prefix), f"{prefix}\x7f")

    def folders(self, prefix: str) -> list[str]:
        """What keys have between a prefix and the next slash."""
        found, after = [], prefix
        while rows := self.visible(prefix, after, 1):
            name, slash, _ = rows[0][0].removeprefix(prefix).partition("/")
            found += [f"{name}/"] if slash else []
            after = f"{prefix}{name}{slash}\x7e"
        return found

    def versions(self, prefix: str, after: tuple[str, int]) -> list[Row]:
        """The next versions and markers of a listing, and one more if there are more."""
        query = "SELECT * FROM objects WHERE (key, age) > (?, ?) AND key < ?"
        return self._run(f"{query} ORDER BY key, age LIMIT {PAGE + 1}", *after, f"{prefix}\x7f")

    def _insert(self, key: str, digest: bytes | None, size: int, modified: int) -> None:
        newest = "SELECT coalesce(min(age), 0) - 1 FROM objects WHERE key = ?"
        self._run(f"INSERT INTO objects VALUES (?, ({newest}), ?, ?, ?)", key, key, digest, size, modified)

    def _run(self, statement: str, *values: object) -> list[Row]:
        with self._lock:
            return self._file.execute(statement, values).fetchall()


class Requests(http.server.BaseHTTPRequestHandler):
    """One connection to the bucket."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    shelf: ClassVar[Shelf]
    counts: ClassVar[Counter[str]] = Counter()

    def do_PUT(self) -> None:
        """Write an object."""
        self.counts["put"] += 1
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        key, _ = self._asked()
        found = self.shelf.find(key)
        if self.headers.get("if-none-match") == "*" and found is not None and found[2] is not None:
            self._error(412, "PreconditionFailed")
        else:
            self.shelf.add(key, body, int(datetime.now(UTC).timestamp()))
            self._answer(200)

    def do_HEAD(self) -> None:
        """Look at an object."""
        self.counts["head"] += 1
        key, query = self._asked()
        found = self._found(key, query)
        if found is None or found[2] is None:
            self._error(404, "NoSuchKey")
        else:
            self._answer(200, headers=_described(found), length=found[3])

    def do_GET(self) -> None:
        """Read an object, a listing, a setting of the bucket, or the counts."""
        key, query = self._asked()
        if self.path == f"/{COUNTS}":
            self._answer(200, json.dumps(self.counts).encode())
            self.counts.clear()
        elif key:
            self.counts["get"] += 1
            found = self._found(key, query)
            if found is None or found[2] is None:
                self._error(404, "NoSuchKey")
            else:
                self._answer(200, self.shelf.body(found[2]), headers=_described(found))
        elif "object-lock" in query:
            self._error(404, "ObjectLockConfigurationNotFoundError")
        elif "versions" in query:
            self.counts["list"] += 1
            self._answer(200, self._versions(query))
        else:
            self.counts["list"] += 1
            self._answer(200, self._objects(query))

    def do_DELETE(self) -> None:
        """Hide an object, or remove a version."""
        self.counts["delete"] += 1
        key, query = self._asked()
        if "versionId" in query:
            self.shelf.delete(key, -int(query["versionId"][0]))
        else:
            self.shelf.hide(key, int(datetime.now(UTC).timestamp()))
        self._answer(204)

    def do_POST(self) -> None:
        """Hide or remove many objects."""
        self.counts["delete"] += 1
        body = self.rfile.read(int(self.headers["content-length"]))
        named = ElementTree.fromstring(body).iter(f"{_XML}Object")  # noqa: S314 - our own client's
        found = ((one.findtext(f"{_XML}Key", ""), one.findtext(f"{_XML}VersionId")) for one in named)
        changes = [(key, -int(version) if version else None) for key, version in found]
        self.shelf.change(changes, int(datetime.now(UTC).timestamp()))
        self._answer(200, b"<DeleteResult></DeleteResult>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def _asked(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        return unquote(parts.path).partition("/")[2].partition("/")[2], parse_qs(
            parts.query, keep_blank_values=True
        )

    def _found(self, key: str, query: dict[str, list[str]]) -> Row | None:
        return self.shelf.find(key, -int(query["versionId"][0]) if "versionId" in query else None)

    def _objects(self, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        if "delimiter" in query:
            names = (escape(prefix + name) for name in self.shelf.folders(prefix))
            folders = "".join(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in names)
            return _page("ListBucketResult", [], "", folders)
        rows = self.shelf.visible(prefix, after)
        last = rows[:PAGE][-1][0] if rows else ""
        more = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>"
        return _page("ListBucketResult", rows, more, "".join(map(_contents, rows[:PAGE])))

    def _versions(self, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        before = query.get("key-marker", [""])[0]
        age = -int(query["version-id-marker"][0]) if "version-id-marker" in query else 0
        rows = self.shelf.versions(prefix, (before, age) if before else (prefix, -sys.maxsize))
        entries = []
        for row in rows[:PAGE]:
            entries.append(_version(row, latest=row[0] != before))
            before = row[0]
        key, age = rows[:PAGE][-1][:2] if rows else ("", 0)
        more = f"<NextKeyMarker>{escape(key)}</NextKeyMarker>"
        more += f"<NextVersionIdMarker>{-age}</NextVersionIdMarker>"
        return _page("ListVersionsResult", rows, more, "".join(entries))

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def _answer(
        self,
        status: int,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _described(row: Row) -> dict[str, str]:
    modified = format_datetime(datetime.fromtimestamp(row[4], UTC), usegmt=True)
    checksum = base64.b64encode(row[2] or b"").decode()
    return {"Last-Modified": modified, "x-amz-version-id": str(-row[1]), "x-amz-checksum-sha256": checksum}


def _page(name: str, rows: list[Row], more: str, entries: str) -> bytes:
    truncated = len(rows) > PAGE
    head = f"<IsTruncated>{'true' if truncated else 'false'}</IsTruncated>{more if truncated else ''}"
    return f"<{name}>{head}{entries}</{name}>".encode()


def _contents(row: Row) -> str:
    return f"<Contents>{_fields(row)}</Contents>"


def _version(row: Row, *, latest: bool) -> str:
    tag = "Version" if row[2] is not None else "DeleteMarker"
    which = f"<VersionId>{-row[1]}</VersionId><IsLatest>{'true' if latest else 'false'}</IsLatest>"
    return f"<{tag}>{_fields(row)}{which}</{tag}>"


def _fields(row: Row) -> str:
    modified = datetime.fromtimestamp(row[4], UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return f"<Key>{escape(row[0])}</Key><Size>{row[3]}</Size><LastModified>{modified}</LastModified>"


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


def serve(path: Path) -> None:
    """Serve on a free port, which is printed, until the process is ended."""
    Requests.shelf = Shelf(path)
    with _Server(("127.0.0.1", 0), Requests) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
