"""Is a backup one of the same database as the one before it, and is about as much in it?

After a failover, a restore or a change of a name's address a backup may read another database, or an empty
one, and succeed.
"""

from __future__ import annotations

from coffre.results import Finding
from coffre.vault.manifest import Manifest

DROP = 0.5
"""The part of its rows or bytes that a database may lose from one backup to the next."""

FEWEST_ROWS, FEWEST_BYTES = 100, 10_000
"""Fewer come and go; only all of them at once are worth a word."""


def differences(before: Manifest, now: Manifest) -> list[Finding]:
    """What makes a backup unlike the one before it.

    A physical standby that took over has the same system identifier and the same database's OID.  Of sealed
    manifests that weren't opened only the size can be compared, and the source if they are under one seal.
    """
    return [
        Finding(
            level="warn",
            code="unlike-last",
            object=now.id,
            message=f"{now.id} is unlike {before.id}: {what}",
            advice="If that was meant, as after a restore in its place, `coffre release` the one before; "
            "a rotation keeps it until then.",
        )
        for what in (*_source(before, now), *_content(before, now))
    ]


def _source(before: Manifest, now: Manifest) -> list[str]:
    old, new = before.engine, now.engine
    if (before.is_closed or now.is_closed) and before.seal != now.seal:
        return []
    if (old.system_identifier, old.database_oid) == (new.system_identifier, new.database_oid):
        return []
    where = f"database {new.database_oid} of system {new.system_identifier}"
    return [f"it comes from {where}, not from {old.database_oid} of {old.system_identifier}"]


def _content(before: Manifest, now: Manifest) -> list[str]:
    old, new = before.totals, now.totals
    size = ("bytes", old.bytes, new.bytes)
    if before.is_closed or now.is_closed:
        pairs = [size] if old.bytes >= FEWEST_BYTES or not new.bytes else []
    elif old.rows and not new.rows:
        return [f"it holds no row, the one before {old.rows}"]
    else:
        pairs = [("rows", old.rows, new.rows), size] if old.rows >= FEWEST_ROWS else []
    return [f"it holds {b} {what}, the one before {a}" for what, a, b in pairs if b < a * (1 - DROP)]
