"""Sealing: objects encrypted before they leave the function, and chunk names that tell nothing of the rows.

A `Seal` names chunks, encrypts what is stored and decrypts what was fetched; `UNSEALED` does none of that.
The bytes are specified in ``docs/format.md``, and why they are so in ``docs/decisions/0018-sealing.md``.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, cast

from coffre.errors import ObjectCorruptError

if TYPE_CHECKING:
    from coffre.vault.manifest import (
        SealKey,  # pydantic: workers of backups that aren't sealed don't pay for it
    )

MAGIC = b"COFFRES\x01"
FRAME = 1 << 20
"""Plain bytes of each frame but the last."""

TAG = 16
CHECKSUM = 32
HEADER = 88
SECRET_BYTES = 32
_LABEL = b"coffre-seal-1\0"
_NAMING = b"coffre-seal-1-names"
_HASHED = re.compile(r"-[0-9a-f]{64}(?=\.|$)")

Encoding = Literal["zstd", "zstd+aesgcm"]


class Seal(Protocol):
    """How one backup's objects are named and encrypted."""

    @property
    def key(self) -> SealKey | None:
        """What the manifest says of it; None: nothing is sealed."""

    @property
    def encoding(self) -> Encoding:
        """What its chunks' records say."""

    def chunk_id(self, sha256: str) -> str:
        """The id of the chunk whose plain text has this SHA-256 (hex)."""

    def sealed(self, blocks: Iterable[bytes], key: str) -> Iterator[bytes]:
        """The bytes to store under ``key``; a hash in its name may still be missing (``{sha256}``)."""

    def opened(self, body: BinaryIO, key: str) -> BinaryIO:
        """The bytes that were sealed, as a stream that doesn't close ``body``.

        Nothing may be trusted before its end was read without an error; then all of it is right.

        Raises
        ------
        ObjectCorruptError
            While it is read: if the object isn't sealed, not with this key, not for this place, or isn't
            exactly what was sealed.
        """

    def hand_over(self) -> dict[str, Any] | None:
        """What another process needs.  It holds a secret: it may only go where secrets go."""


@dataclass(frozen=True)
class _Unsealed:
    """No seal: everything as it is."""

    key: SealKey | None = None
    encoding: Encoding = "zstd"

    def chunk_id(self, sha256: str) -> str:
        return sha256

    def sealed(self, blocks: Iterable[bytes], key: str) -> Iterator[bytes]:
        del key
        return iter(blocks)

    def opened(self, body: BinaryIO, key: str) -> BinaryIO:
        del key
        return body

    def hand_over(self) -> None:
        return None


UNSEALED: Seal = _Unsealed()


@dataclass(frozen=True)
class Sealed:
    """The data key of a seal, unwrapped.

    Attributes
    ----------
    key:
        As the manifest has it: with the data key wrapped.
    secret:
        The data key: 32 random bytes.  Nothing is encrypted with it itself; all other keys derive from it.
    """

    key: SealKey
    secret: bytes = field(repr=False)
    encoding: Encoding = field(default="zstd+aesgcm", init=False)

    @cached_property
    def _naming(self) -> bytes:
        return hmac.digest(hmac.digest(bytes(32), self.secret, "sha256"), _NAMING + b"\x01", "sha256")

    def chunk_id(self, sha256: str) -> str:
        """See `Seal`: HMAC-SHA256 of the plain text's SHA-256 under the naming key."""
        return hmac.digest(self._naming, bytes.fromhex(sha256), "sha256").hex()

    def sealed(self, blocks: Iterable[bytes], key: str) -> Iterator[bytes]:
        """See `Seal`."""
        salt = os.urandom(SECRET_BYTES)
        secret, commitment = _derived(self.secret, salt, key)
        header = MAGIC + bytes.fromhex(self.key.id) + salt + commitment
        checksum = _checksum(key)
        for piece in chain([header], _encrypted(_cipher(secret), header, blocks)):
            checksum.update(piece)
            yield piece
        yield checksum.digest()

    def opened(self, body: BinaryIO, key: str) -> BinaryIO:
        """See `Seal`."""
        return io.BufferedReader(_Opened(body, key, self), FRAME)

    def hand_over(self) -> dict[str, Any]:
        """See `Seal`."""
        return {"key": self.key.model_dump(by_alias=True), "secret": self.secret.hex()}


def handed_over(message: dict[str, Any] | None) -> Seal:
    """The seal that another process handed over; see `Seal.hand_over`."""
    if message is None:
        return UNSEALED
    from coffre.vault.manifest import SealKey

    return Sealed(SealKey.model_validate(message["key"]), bytes.fromhex(message["secret"]))


def seal_body(
    seal: Seal, body: BinaryIO, size: int, sha256: str, *, key: str, scratch: Path
) -> tuple[BinaryIO, int, str]:
    """What is to be stored for ``body``: a file at its start, its size and its SHA-256 in hex.

    Parameters
    ----------
    body:
        At its start; it is closed unless it is what is returned.
    scratch:
        Where a body that lies in a file is sealed into another one.
    """
    if seal.key is None:
        return body, size, sha256
    out: BinaryIO = (
        io.BytesIO() if isinstance(body, io.BytesIO) else tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - the caller closes it
    )
    digest, length = hashlib.sha256(), 0
    with body:
        for piece in seal.sealed(blocks_of(body), key):
            digest.update(piece)
            length += out.write(piece)
    out.seek(0)
    return out, length, digest.hexdigest()


def blocks_of(body: BinaryIO) -> Iterator[bytes]:
    """What is left of a file, in blocks."""
    while block := body.read(FRAME):
        yield block


def is_sealed(start: bytes) -> bool:
    """Whether an object that begins with these bytes (8 or more) is a sealed one."""
    return start.startswith(MAGIC)


def is_whole(start: bytes, body: BinaryIO, key: str) -> bool:
    """Whether a sealed object is what was written under its key, as far as one can tell without its keys.

    Its checksum finds what rots, is cut or lies under another key.  Who alters an object on purpose can
    compute it as well: against that stands the seal itself.

    Parameters
    ----------
    start:
        Bytes that were read from ``body`` already.
    """
    checksum, held = _checksum(key), start
    while block := body.read(FRAME):
        held += block
        checksum.update(held[:-CHECKSUM])
        held = held[-CHECKSUM:]
    if len(held) > CHECKSUM:  # nothing was left to read
        checksum.update(held[:-CHECKSUM])
        held = held[-CHECKSUM:]
    return hmac.compare_digest(held, checksum.digest())


def bound_name(key: str) -> str:
    """What is bound of an object's key: all of it but the hash of its own bytes, which isn't known before."""
    return _HASHED.sub("-{sha256}", key)


class _Opened(io.RawIOBase):
    """Decrypts frame by frame.  A frame is given out once it is authentic; the last one says so."""

    def __init__(self, body: BinaryIO, key: str, seal: Sealed) -> None:
        self._body = body
        self._key = key
        self._seal = seal
        self._checksum = _checksum(key)
        self._held = b""
        self._header = b""
        self._cipher: Any = None
        self._number = 0
        self._plain = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._header:
            self._begin()
        while not self._plain and not self._ended:
            self._plain = memoryview(self._frame())
        size = min(len(buffer), len(self._plain))
        buffer[:size] = self._plain[:size]
        self._plain = self._plain[size:]
        return size

    def _begin(self) -> None:
        self._fill(HEADER)
        header, self._held = self._held[:HEADER], self._held[HEADER:]
        if not is_sealed(header) or len(header) < HEADER:
            raise ObjectCorruptError(f"object {self._key} isn't sealed, but should be")
        name, salt, commitment = header[8:24].hex(), header[24:56], header[56:]
        if name != self._seal.key.id:
            raise ObjectCorruptError(
                f"object {self._key} belongs to the seal {name}, not {self._seal.key.id}"
            )
        secret, expected = _derived(self._seal.secret, salt, self._key)
        if not hmac.compare_digest(commitment, expected):
            raise ObjectCorruptError(f"object {self._key} was sealed with another key, or for another place")
        self._header, self._cipher = header, _cipher(secret)
        self._checksum.update(header)

    def _frame(self) -> bytes:
        """The next frame's plain text.  More bytes than the checksum's after a frame: it isn't the last."""
        whole = FRAME + TAG
        self._fill(whole + CHECKSUM + 1)
        self._ended = len(self._held) <= whole + CHECKSUM
        size = len(self._held) - CHECKSUM if self._ended else whole
        frame, self._held = self._held[: max(size, 0)], self._held[max(size, 0) :]
        self._checksum.update(frame)
        if self._ended and not hmac.compare_digest(self._held, self._checksum.digest()):
            raise ObjectCorruptError(f"object {self._key} was cut, or altered after it was sealed")
        plain = _decrypted(self._cipher, _nonce(self._number, last=self._ended), frame, self._header)
        if plain is None:
            raise ObjectCorruptError(f"object {self._key} was altered after it was sealed")
        self._number += 1
        return plain

    def _fill(self, wanted: int) -> None:
        pieces, length = [self._held], len(self._held)
        while length < wanted and (block := self._body.read(wanted - length)):
            pieces.append(block)
            length += len(block)
        self._held = b"".join(pieces)


def _derived(data_key: bytes, salt: bytes, key: str) -> tuple[bytes, bytes]:
    """HKDF-SHA256 (RFC 5869) with two blocks of output: an object's own key, and what commits to it."""
    info = _LABEL + bound_name(key).encode()
    extracted = hmac.digest(salt, data_key, "sha256")
    secret = hmac.digest(extracted, info + b"\x01", "sha256")
    return secret, hmac.digest(extracted, secret + info + b"\x02", "sha256")


def _checksum(key: str) -> hashlib._Hash:
    return hashlib.sha256(_LABEL + bound_name(key).encode() + b"\0")


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def _cipher(secret: bytes) -> Any:
    # Only what is sealed pays for the import.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(secret)


def _encrypted(cipher: Any, header: bytes, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The frames of a text.  One is written when more text follows, or when it is known to be the last."""
    number, held = 0, b""
    for block in blocks:
        held = held + block if held else block
        start = 0
        while len(held) - start > FRAME:
            yield cipher.encrypt(_nonce(number, last=False), held[start : start + FRAME], header)
            number, start = number + 1, start + FRAME
        held = held[start:] if start else held
    yield cipher.encrypt(_nonce(number, last=True), held, header)


def _decrypted(cipher: Any, nonce: bytes, frame: bytes, header: bytes) -> bytes | None:
    from cryptography.exceptions import InvalidTag

    try:
        return cast("bytes", cipher.decrypt(nonce, frame, header))
    except (InvalidTag, ValueError):  # a frame shorter than its tag is a ValueError in some versions
        return None
