"""What readers and sweeps know of stored objects, wherever they lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class ObjectInfo:
    """An object as the store reports it.  ``sha256`` (hex) is there only after `ObjectStore.head`."""

    key: str
    size: int
    modified: datetime
    sha256: str | None = None


@dataclass(frozen=True)
class Version:
    """One version of an object, or a delete marker."""

    key: str
    version: str
    latest: bool
    marker: bool
    size: int
    modified: datetime


class ChunkReader(Protocol):
    """Where stored objects can be read: a bucket, or a list of presigned URLs."""

    def get(self, key: str, version: str | None = None) -> BinaryIO:
        """The object's bytes as a stream; ObjectMissingError if there is none."""
