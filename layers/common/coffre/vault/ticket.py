"""Tickets: everything that a proof may read, as presigned URLs, so that it needs no rights of its own.

A ticket is a zstd-compressed sequence of lines: the first names the backup, each other one a key and its URL.
It lies under ``_tickets/``, which is the one prefix whose objects expire by themselves.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import urllib3
import zstandard

from coffre.errors import ObjectCorruptError, ObjectMissingError, StoreUnavailableError
from coffre.ids import new_attempt
from coffre.vault.layout import TICKETS
from coffre.vault.sealing import UNSEALED, Seal

if TYPE_CHECKING:
    from coffre.vault.store import ObjectStore  # a proof must not pay for the client that it doesn't use

_RETRIES = urllib3.Retry(
    total=4, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504), raise_on_status=False
)


@dataclass(frozen=True)
class Ticket:
    """What a proof is about.

    Attributes
    ----------
    manifest:
        The manifest's key.
    checks:
        The owner's, as JSON.
    critical:
        The owner's critical tables: a proof that can't restore all tables restores these.
    """

    database: str
    backup_id: str
    root_hash: str
    manifest: str
    checks: tuple[dict[str, Any], ...] = ()
    critical: tuple[str, ...] = ()


def issue_ticket(
    store: ObjectStore, ticket: Ticket, objects: Iterable[tuple[str, str | None]], *, seconds: int
) -> str:
    """Write a ticket for ``objects`` (key and, where not the visible one, version); its own URL.

    Parameters
    ----------
    seconds:
        How long the URLs are good for, at most; they end with the credentials that signed them.
    """
    body = io.BytesIO()
    with zstandard.ZstdCompressor(level=3).stream_writer(body, closefd=False) as out:
        out.write(json.dumps(ticket.__dict__).encode() + b"\n")
        for key, version in objects:
            url = store.presigned(key, seconds=seconds, version=version)
            out.write(json.dumps([key, url]).encode() + b"\n")
    content = body.getvalue()
    key = f"{TICKETS}{ticket.database}/{ticket.backup_id}/{new_attempt()}.ndjson.zst"
    store.put_new(key, content, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    return store.presigned(key, seconds=seconds)


class TicketReader:
    """A `ChunkReader` over the URLs of a ticket, which lie in a small database in scratch space."""

    def __init__(self, urls: Path, seal: Seal = UNSEALED) -> None:
        _tell_no_urls()
        self._urls = urls
        self.seal = seal
        self._http = urllib3.PoolManager(
            maxsize=8, retries=_RETRIES, timeout=urllib3.Timeout(connect=5, read=60)
        )

    def get(self, key: str, version: str | None = None) -> BinaryIO:
        """An object's bytes as a stream; a ticket knows one version of each object.

        Raises
        ------
        ObjectMissingError, StoreUnavailableError
        """
        del version
        with closing(sqlite3.connect(self._urls)) as known:
            row = known.execute("SELECT url FROM urls WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise ObjectMissingError(f"the ticket doesn't hold {key}")
        return download(self._http, row[0], key)


def open_ticket(url: str, urls: Path) -> Ticket:
    """Fetch a ticket; its URLs are put into ``urls`` for `TicketReader`.

    Raises
    ------
    ObjectCorruptError, ObjectMissingError, StoreUnavailableError
    """
    _tell_no_urls()
    with urllib3.PoolManager(retries=_RETRIES) as http, download(http, url, "the ticket") as body:
        try:
            with zstandard.ZstdDecompressor().stream_reader(body) as reader:
                lines = io.TextIOWrapper(io.BufferedReader(reader, 1 << 16), "utf-8")
                ticket = Ticket(**json.loads(lines.readline()))
                ticket = replace(ticket, checks=tuple(ticket.checks), critical=tuple(ticket.critical))
                with closing(sqlite3.connect(urls)) as known, known:
                    known.execute("CREATE TABLE urls (key TEXT PRIMARY KEY, url TEXT) WITHOUT ROWID")
                    known.executemany("INSERT OR REPLACE INTO urls VALUES (?, ?)", map(json.loads, lines))
        except (zstandard.ZstdError, ValueError, TypeError, sqlite3.Error) as error:
            raise ObjectCorruptError("the ticket is not one") from error
    return ticket


def _tell_no_urls() -> None:
    """urllib3 warns of each retry with the whole URL, and Lambda logs warnings."""
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


def download(http: urllib3.PoolManager, url: str, key: str) -> BinaryIO:
    """The body behind a presigned URL, as a stream.  No message shows the URL: it is a credential.

    Raises
    ------
    ObjectMissingError, StoreUnavailableError
    """
    try:
        answer = http.request("GET", url, preload_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise StoreUnavailableError(f"could not read {key}: {type(error).__name__}") from None
    if answer.status == 404:
        raise ObjectMissingError(f"object {key} doesn't exist")
    if answer.status != 200:
        raise StoreUnavailableError(f"could not read {key}: the store answered {answer.status}")
    return _Download(answer, key)


class _Download(io.BufferedReader):
    """A response's body; breaking off is our error, and closing gives the connection back."""

    def __init__(self, answer: urllib3.BaseHTTPResponse, key: str) -> None:
        super().__init__(_Raw(answer, key), 1 << 17)


class _Raw(io.RawIOBase):
    def __init__(self, answer: urllib3.BaseHTTPResponse, key: str) -> None:
        self._answer = answer
        self._key = key

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # a buffer is all that is needed
        try:
            block = self._answer.read(len(buffer))
        except (urllib3.exceptions.HTTPError, OSError):
            raise StoreUnavailableError(f"object {self._key} broke off while it was read") from None
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._answer.release_conn()
        super().close()
