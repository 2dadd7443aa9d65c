"""Files of an attempt: stored once, named after their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coffre.errors import ObjectExistsError, StoreUnavailableError
from coffre.vault.sealing import blocks_of
from coffre.vault.store import ObjectStore

MAX_PUT = 5 * 1000**3
"""S3 takes at most 5 GB in one PUT; multipart uploads would lose the whole-object checksum."""


AT_ONCE = 8 << 20
"""Files up to this many bytes are read and written in one go."""


@dataclass(frozen=True)
class FileInfo:
    """A file that was stored: where, how many bytes, and their SHA-256 in hex."""

    key: str
    size: int
    sha256: str


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put_bytes(store: ObjectStore, key: str, body: bytes) -> None:
    """Store what is in memory.

    Raises
    ------
    ObjectExistsError, StoreUnavailableError
    """
    store.put_new(key, body, size=len(body), sha256=hashlib.sha256(body).hexdigest())


@contextmanager
def _twin(path: Path) -> Iterator[Path]:
    """A name beside a file for another form of it, which goes at the end."""
    twin = path.with_name(f"{path.name}.twin")
    try:
        yield twin
    finally:
        twin.unlink(missing_ok=True)


def put_file(store: ObjectStore, path: Path, key: str) -> FileInfo:
    """Store a file, sealed if the store has a seal.

    One that is there already was stored by the same step, which is being repeated.

    Parameters
    ----------
    key:
        Where, with ``{sha256}`` for the hash of the content.

    Raises
    ------
    StoreUnavailableError
        If the store refuses, or the file is larger than one PUT may be.
    """
    if store.seal.key is not None:
        with _twin(path) as twin:
            with path.open("rb") as plain, twin.open("wb") as out:
                out.writelines(store.seal.sealed(blocks_of(plain), key))
            return _put(store, twin, key)
    return _put(store, path, key)


def _put(store: ObjectStore, path: Path, key: str) -> FileInfo:
    size, sha256 = path.stat().st_size, file_digest(path)
    if size > MAX_PUT:
        raise StoreUnavailableError(f"{path.name} has {size} bytes, more than one PUT may have")
    stored = FileInfo(key.replace("{sha256}", sha256), size, sha256)
    try:
        if size <= AT_ONCE:
            store.put_new(stored.key, path.read_bytes(), size=size, sha256=sha256)
            return stored
        with path.open("rb") as file:
            store.put_new(stored.key, file, size=size, sha256=sha256)
    except ObjectExistsError:
        seen = store.head(stored.key)
        if seen is None or (seen.size, seen.sha256) != (size, sha256):
            raise
    return stored
