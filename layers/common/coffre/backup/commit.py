"""The last step of a backup: check that everything is there, then write the manifest, once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from coffre.backup.job import Job
from coffre.backup.plan import WorkItem
from coffre.databases.postgresql.description import Description
from coffre.errors import BackupIncompleteError
from coffre.ids import stamp, utc_now
from coffre.vault.layout import FORMAT
from coffre.vault.manifest import (
    LARGE_OBJECTS,
    MEMBERSHIP_OPTIONS,
    SEALED,
    SLICES,
    ArchiveFile,
    Manifest,
    PartFile,
    StoredFile,
    Totals,
    encode,
    root_hash,
)
from coffre.vault.parts import Chunk, End, Record, Relation
from coffre.vault.reader import read_part
from coffre.vault.refs import write_refs
from coffre.vault.retention import extend
from coffre.vault.sealed_manifest import close_manifest
from coffre.vault.sealing import Seal
from coffre.vault.store import ObjectStore


@dataclass(frozen=True)
class New:
    """What a backup had to upload."""

    chunks: int
    bytes: int


@dataclass
class Tally:
    """What the parts really hold, counted while they are read back."""

    rows: int = 0
    plain: int = 0
    stored: int = 0
    sequences: int = 0
    relations: set[int] = field(default_factory=set)
    chunk_ids: set[bytes] = field(default_factory=set)
    slices: bool = False
    sections: dict[tuple[int, int], End] = field(default_factory=dict)
    _open: Relation | None = None
    _sums: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, record: Record) -> None:
        """Count one record."""
        if isinstance(record, Relation) and record.kind == "sequence":
            self.sequences += 1
        elif isinstance(record, Relation):
            self._open = record
            self._sums.clear()
        elif isinstance(record, Chunk):
            self._chunk(record)
        elif isinstance(record, End):
            self._close(record)

    def _chunk(self, chunk: Chunk) -> None:
        self._sums["rows"] += chunk.rows
        self._sums["bytes"] += chunk.bytes
        self.slices |= chunk.whole > 0
        identifier = bytes.fromhex(chunk.id)
        if identifier not in self.chunk_ids:
            self.chunk_ids.add(identifier)
            self.stored += chunk.stored

    def _close(self, end: End) -> None:
        relation = self._open
        if relation is None or relation.id != end.relation:
            raise BackupIncompleteError(f"a part ends relation {end.relation}, which it didn't start")
        if (self._sums["rows"], self._sums["bytes"]) != (end.rows, end.bytes):
            raise BackupIncompleteError(f"the chunks of {relation.label} don't add up to its rows")
        if (end.relation, relation.piece) in self.sections:
            raise BackupIncompleteError(f"{relation.label} was captured twice")
        self.sections[end.relation, relation.piece] = end
        if relation.is_table:
            self.relations.add(end.relation)
            self.rows += end.rows
        self.plain += end.bytes
        self._open = None


def tally_parts(store: ObjectStore, parts: Iterable[PartFile]) -> Tally:
    """Read the parts back from the vault and count what they hold.

    Raises
    ------
    BackupIncompleteError, ObjectMissingError, ObjectCorruptError
    """
    tally = Tally()
    for part in parts:
        for record in read_part(store, part):
            tally.take(record)
    return tally


def check_complete(tally: Tally, items: Sequence[WorkItem], ends: Sequence[End]) -> None:
    """Every item that was planned must be there, exactly once, with the rows that the server counted.

    Raises
    ------
    BackupIncompleteError
    """
    planned = {(item.relation.id, item.relation.piece): item for item in items}
    missing = [item.relation.label for key, item in planned.items() if key not in tally.sections]
    if missing or len(tally.sections) != len(planned):
        raise BackupIncompleteError(f"the parts don't hold {', '.join(missing) or 'exactly the plan'}")
    counted = sorted((end.relation, end.rows, end.bytes, end.digest, end.generated) for end in ends)
    stored = sorted(
        (end.relation, end.rows, end.bytes, end.digest, end.generated) for end in tally.sections.values()
    )
    if counted != stored:
        raise BackupIncompleteError("the parts' rows aren't those that the server counted")


def draft_manifest(job: Job, source: Description, files: list[ArchiveFile], seal: Seal) -> Manifest:
    """The manifest before any row is captured: everything that the snapshot says, no parts, no totals."""
    return Manifest(
        format=FORMAT,
        requires=_requires(source, seal),
        id=job.id,
        attempt=job.attempt,
        database=job.database,
        type=job.request.type,
        reason=job.request.reason,
        engine=source.engine,
        snapshot=source.snapshot,
        started=stamp(job.started),
        completed=stamp(job.started),
        locale=source.locale,
        settings=source.settings,
        extensions=source.extensions,
        files=files,
        parts=[],
        refs=[],
        totals=Totals(
            relations=0,
            sequences=0,
            rows=0,
            bytes=0,
            chunks=0,
            stored_bytes=0,
            new_chunks=0,
            new_bytes=0,
            large_objects=source.inventory.large_objects,
        ),
        objects=source.objects,
        needs=source.needs,
        left_out=list(source.inventory.left_out),
        seal=seal.key,
    )


def complete_manifest(
    draft: Manifest, job: Job, store: ObjectStore, tally: Tally, parts: list[PartFile], *, new: New
) -> Manifest:
    """Write the references, and complete a draft with what was captured."""
    totals = draft.totals.model_copy(
        update={
            "relations": len(tally.relations),
            "sequences": tally.sequences,
            "rows": tally.rows,
            "bytes": tally.plain,
            "chunks": len(tally.chunk_ids),
            "stored_bytes": tally.stored,
            "new_chunks": new.chunks,
            "new_bytes": new.bytes,
        }
    )
    refs = write_refs(store, job.prefix, sorted(tally.chunk_ids))
    requires = [*draft.requires, SLICES] if tally.slices else draft.requires
    return draft.model_copy(
        update={
            "requires": requires,
            "completed": stamp(utc_now()),
            "parts": parts,
            "refs": refs,
            "totals": totals,
        }
    )


def _requires(source: Description, seal: Seal) -> list[str]:
    """What a reader must know to read this backup right."""
    inventory = source.inventory
    held = {
        LARGE_OBJECTS: inventory.large_objects > 0,
        "objects": bool(source.described),
        "generated": any(found.relation.generated for found in inventory.relations),
        MEMBERSHIP_OPTIONS: any(role.options for role in source.roles),
        SEALED: seal.key is not None,
    }
    return ["postgresql", "copy-text", "zstd", *(name for name, there in held.items() if there)]


def commit(store: ObjectStore, manifest: Manifest, key: str) -> str:
    """Check that every file of the manifest is in the vault as recorded; then write the manifest.

    Returns
    -------
    str
        The root hash.

    Raises
    ------
    BackupIncompleteError
        If a file is missing or another one.
    ObjectExistsError
        If another attempt has committed this backup meanwhile.
    """
    files: list[StoredFile] = [*manifest.files, *manifest.parts, *manifest.refs]
    for file in files:
        seen = store.head(file.key)
        if seen is None or seen.size != file.size or seen.sha256 not in (None, file.sha256):
            raise BackupIncompleteError(f"{file.key} isn't in the vault as it was written")
        if store.lock is not None:
            extend(store, seen, store.lock)
    body = encode(close_manifest(manifest, store.seal))
    digest = root_hash(body)
    store.put_new(key, body, size=len(body), sha256=digest)
    return digest
