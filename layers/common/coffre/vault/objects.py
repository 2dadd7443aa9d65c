"""What readers and sweeps know of stored objects, wherever they lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from coffre.vault.sealing import Seal


@dataclass(frozen=True)
class ObjectInfo:
    """An object as the store reports it.

    Attributes
    ----------
    sha256:
        Its checksum in hex; it and what follows are there only after `ObjectStore.head`.
    version:
        The version that was looked at.
    locked_until, legal_hold:
        What Object Lock says of that version.
    replication:
        ``PENDING``, ``COMPLETED`` or ``FAILED`` in a bucket that is replicated, ``REPLICA`` in the other one;
        empty if no rule was there when it was written.
    """

    key: str
    size: int
    modified: datetime
    sha256: str | None = None
    version: str = ""
    locked_until: datetime | None = None
    legal_hold: bool = False
    replication: str = ""


@dataclass(frozen=True, slots=True)
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

    @property
    def seal(self) -> Seal:
        """What opens them."""

    def get(self, key: str, version: str | None = None) -> BinaryIO:
        """The object's bytes as a stream; ObjectMissingError if there is none."""
