"""A sealed backup's manifest: what anybody may read of it, and the rest under its seal.

Rotation, the catalogue and whoever looks for bit rot need ids, times, keys, sizes and hashes, and no key.
Names, numbers of rows, and what is known of the source are sealed.  Both halves belong together: the sealed
one holds the hash of the open one.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json

import zstandard
from pydantic import ValidationError

from coffre.errors import ObjectCorruptError, SealBrokenError
from coffre.vault.layout import Layout
from coffre.vault.manifest import MAX_BYTES, Manifest
from coffre.vault.sealing import Seal

_SEALED = {"reason", "engine", "snapshot", "extensions", "totals", "objects", "needs", "left_out", "extra"}


def close_manifest(manifest: Manifest, seal: Seal) -> Manifest:
    """The manifest as it is stored: sealed, if there is a seal."""
    if seal.key is None:
        return manifest
    public = _public(manifest, seal)
    text = manifest.model_dump(include=_SEALED, by_alias=True) | {"public": _digest(public)}
    packed = zstandard.ZstdCompressor(level=3).compress(json.dumps(text).encode())
    body = b"".join(seal.sealed([packed], Layout(manifest.database).manifest(manifest.id)))
    return public.model_copy(update={"sealed": base64.b64encode(body).decode()})


def open_manifest(manifest: Manifest, seal: Seal) -> Manifest:
    """All of a stored manifest.

    Parameters
    ----------
    seal:
        The one that it names; see `coffre.vault.keys.SealKeys.of`.

    Raises
    ------
    SealBrokenError
        If one of its halves was altered, or comes from another manifest.
    """
    if manifest.sealed is None:
        return manifest
    public = manifest.model_copy(update={"sealed": None})
    key = Layout(manifest.database).manifest(manifest.id)
    try:
        body = io.BytesIO(base64.b64decode(manifest.sealed, validate=True))
        packed = seal.opened(body, key).read()
        content = json.loads(zstandard.ZstdDecompressor().decompress(packed, max_output_size=MAX_BYTES))
        bound = content.pop("public")
        opened = Manifest.model_validate(public.model_dump(by_alias=True) | content)
    except (
        ObjectCorruptError,
        ValidationError,
        zstandard.ZstdError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise SealBrokenError(f"{key} is sealed, and what is under the seal can't be opened") from error
    if bound != _digest(public):
        raise SealBrokenError(f"{key} was altered: it isn't what its sealed half belongs to")
    return opened


def _public(manifest: Manifest, seal: Seal) -> Manifest:
    """The manifest without what is sealed; a keyed hash tells whether two of a seal have the same source."""
    nothing = {"relations": 0, "sequences": 0, "rows": 0, "large_objects": 0}
    engine = manifest.engine
    source = hashlib.sha256(f"{engine.system_identifier}/{engine.database_oid}".encode()).hexdigest()
    unknown = {"system_identifier": seal.chunk_id(source), "database": "", "database_oid": 0}
    return manifest.model_copy(
        update={
            "reason": "",
            "engine": engine.model_copy(update=unknown),
            "snapshot": manifest.snapshot.model_copy(update={"lsn": "", "transactions": ""}),
            "extensions": [],
            "totals": manifest.totals.model_copy(update=nothing),
            "objects": {},
            "needs": [],
            "left_out": [],
            "extra": {},
        }
    )


def _digest(public: Manifest) -> str:
    content = public.model_dump(by_alias=True, exclude={"sealed"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
