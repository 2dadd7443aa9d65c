"""Backups in a vault, made as a run makes them but without a database."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from datetime import datetime

import zstandard

from coffre.events.base import Verdict
from coffre.ids import BACKUP_ID, backup_time, new_attempt, stamp, utc_now
from coffre.prove.fit import sampled
from coffre.results import Compared, Finding, Rehearsal, Sample, UpgradeReport, UpgradeVerdict, VerifyResult
from coffre.vault.layout import Layout
from coffre.vault.manifest import (
    Engine,
    Locale,
    Manifest,
    PartFile,
    RefsFile,
    Snapshot,
    Totals,
    encode,
    root_hash,
)
from coffre.vault.parts import Chunk, Column, End, PartWriter, Record, Relation
from coffre.vault.refs import write_refs
from coffre.vault.store import ObjectStore

DATABASE = "shop"


def put_object(store: ObjectStore, key: str, body: bytes) -> None:
    """Write an object that must not exist."""
    store.put_new(key, body, size=len(body), sha256=hashlib.sha256(body).hexdigest())


def make_chunk(layout: Layout, text: bytes) -> tuple[Chunk, bytes]:
    """A chunk's record and its stored bytes."""
    body = zstandard.ZstdCompressor(level=1).compress(text)
    identifier = hashlib.sha256(text).hexdigest()
    digest = hashlib.sha256(body).hexdigest()
    chunk = Chunk(
        identifier, layout.chunk(identifier), "zstd", text.count(b"\n"), len(text), len(body), digest
    )
    return chunk, body


def put_chunk(store: ObjectStore, layout: Layout, text: bytes) -> Chunk:
    """Store a chunk, or use the one that is visible."""
    chunk, body = make_chunk(layout, text)
    if store.head(chunk.key) is None:
        put_object(store, chunk.key, body)
    return chunk


def put_part(store: ObjectStore, prefix: str, records: Iterable[Record]) -> PartFile:
    """Store a part."""
    out = io.BytesIO()
    writer = PartWriter(out)
    for record in records:
        writer.write(record)
    writer.close()
    body = out.getvalue()
    digest = hashlib.sha256(body).hexdigest()
    key = f"{prefix}parts/1-{digest}.ndjson.zst"
    put_object(store, key, body)
    return PartFile(
        key=key,
        size=len(body),
        sha256=digest,
        bytes=writer.bytes,
        relations=writer.relations,
        chunks=writer.chunks,
    )


def make_manifest(
    backup_id: str,
    *,
    attempt: str,
    database: str,
    parts: list[PartFile],
    refs: list[RefsFile],
    totals: Totals,
) -> Manifest:
    """A manifest around these parts and references."""
    match = BACKUP_ID.match(backup_id)
    assert match is not None
    now = stamp(backup_time(backup_id))
    engine = {
        "name": "postgresql",
        "server_version": "16.14",
        "server_version_num": 160014,
        "tools_version": "pg_dump 16",
        "system_identifier": "6a1f",
        "database": "shop",
        "database_oid": 16384,
    }
    return Manifest.model_validate(
        {
            "format": 1,
            "requires": ["postgresql", "copy-text", "zstd"],
            "id": backup_id,
            "attempt": attempt,
            "database": database,
            "type": match[2],
            "reason": "",
            "engine": Engine.model_validate(engine),
            "snapshot": Snapshot(taken=now, lsn="0/1A2B3C", transactions="7:7:"),
            "started": now,
            "completed": now,
            "locale": Locale(encoding="UTF8", provider="libc", collate="C", ctype="C", locale=None),
            "settings": {},
            "extensions": [],
            "files": [],
            "parts": parts,
            "refs": refs,
            "totals": totals,
            "objects": {"table": 1},
            "needs": [],
            "left_out": [],
        }
    )


def prepare(
    store: ObjectStore, backup_id: str, chunks: Sequence[Chunk], *, database: str = DATABASE
) -> Manifest:
    """Write an attempt's files; the backup doesn't exist before `commit`."""
    attempt = new_attempt()
    prefix = Layout(database).attempt(backup_id, attempt)
    rows, size = sum(c.rows for c in chunks), sum(c.bytes for c in chunks)
    relation = Relation(1, "table", "public", "rows", "owner", (Column("text", "text"),))
    part = put_part(store, prefix, [relation, *chunks, End(1, rows, size, "0" * 32)])
    refs = write_refs(store, prefix, sorted({bytes.fromhex(chunk.id) for chunk in chunks}))
    stored = sum(chunk.stored for chunk in chunks)
    totals = Totals(
        relations=1,
        sequences=0,
        rows=rows,
        bytes=size,
        chunks=len(chunks),
        stored_bytes=stored,
        new_chunks=len(chunks),
        new_bytes=stored,
        large_objects=0,
    )
    return make_manifest(
        backup_id, attempt=attempt, database=database, parts=[part], refs=refs, totals=totals
    )


def commit(store: ObjectStore, manifest: Manifest) -> str:
    """Write the manifest; its root hash."""
    body = encode(manifest)
    put_object(store, Layout(manifest.database).manifest(manifest.id), body)
    return root_hash(body)


def put_backup(
    store: ObjectStore, backup_id: str, texts: Sequence[bytes], *, database: str = DATABASE
) -> tuple[Manifest, str]:
    """A whole backup of these chunks; its manifest and root hash."""
    chunks = [put_chunk(store, Layout(database), text) for text in texts]
    manifest = prepare(store, backup_id, chunks, database=database)
    return manifest, commit(store, manifest)


SAMPLE = Sample(tables=3, of_tables=7, bytes=41_269, of_bytes=100_000, names=["public.a", "public.b"])


def put_evidence(
    store: ObjectStore,
    manifest: Manifest,
    root: str,
    verdict: Verdict,
    time: datetime | None = None,
    sample: Sample | None = None,
    reasons: Sequence[Finding] = (),
) -> VerifyResult:
    """What a verification writes."""
    key = f"{Layout(manifest.database).proofs(manifest.id)}{stamp(time or utc_now())}.json"
    result = VerifyResult(
        database=manifest.database,
        backup_id=manifest.id,
        verdict=verdict,
        reasons=[sampled(sample, manifest.id)] if sample is not None else list(reasons),
        root_hash=root,
        completed=manifest.completed,
        tables=1,
        rows=manifest.totals.rows,
        bytes=manifest.totals.bytes,
        compared=Compared(),
        evidence=key,
        seconds=1.5,
        sample=sample,
    )
    put_object(store, key, result.model_dump_json().encode())
    return result


def make_rehearsal(
    backup_id: str, time: str, verdict: UpgradeVerdict, *, root: str = "ab" * 32, database: str = DATABASE
) -> Rehearsal:
    """What a rehearsal of an upgrade from 16 to 18 found; an index stood in the way, if it is blocked."""
    index = Finding(level="refuse", code="exception-index", object="public.by_old", message="gone in 17")
    upgrade = UpgradeReport(
        major=18,
        verdict=verdict,
        reasons=[index] if verdict == "upgrade-blocked" else [],
        compared=Compared(tables=1),
        server_version="PostgreSQL 18",
        from_version="16.14",
        rehearsed=time,
        evidence=Layout(database).rehearsal(backup_id, time),
    )
    return Rehearsal(database=database, backup_id=backup_id, root_hash=root, upgrade=upgrade)
