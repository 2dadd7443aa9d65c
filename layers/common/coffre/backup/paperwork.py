"""What functions that work on one backup leave for each other in the vault, below the attempt's ``work/``.

Readers of a backup never look there; it goes when the backup goes.  It is sealed if the backup is, because it
names tables.

The papers of a plan lie in a folder of its own.  A plan that is made again cuts a source that is in use
elsewhere, and of two that mix a table may be in two batches, and another in none; which one counts is in the
ledger.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import zstandard

from coffre.backup.job import Job
from coffre.backup.plan import Batch, WorkItem
from coffre.errors import ObjectExistsError, ObjectMissingError, ProtocolViolationError
from coffre.vault.files import put_bytes
from coffre.vault.manifest import Manifest, PartFile
from coffre.vault.parts import Relation, decode_record, encode_record
from coffre.vault.sealing import UNSEALED
from coffre.vault.store import ObjectStore

MAX_BYTES = 256 << 20
"""Of one paper, unpacked."""

THREADS = 8


def batch_name(number: int) -> str:
    """The name of a batch of the plan."""
    return f"{number:06d}"


def rest_name(name: str, nonce: str) -> str:
    """The name of the batch that follows ``name`` with what there was no time for.

    ``nonce`` tells the rests of two workers apart that did the same batch at the same time, and stopped at
    different rows.
    """
    first, _, more = name.partition("-")
    times = int(more.partition("-")[0] or 1)
    return f"{first}-{times + 1}-{nonce}"


def batches_key(job: Job, plan: str) -> str:
    """The key of the list of a plan's batches, which the state machine reads."""
    return _key(job, f"{plan}/batches.json")


def write_batches(job: Job, store: ObjectStore, plan: str, batches: Sequence[Batch]) -> None:
    """Write all batches of a plan, and the list of their names."""

    def put(batch: Batch) -> None:
        write_batch(job, store, plan, batch_name(batch.number), batch.items)

    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(put, batches):
            pass
    names = [{"batch": batch_name(batch.number)} for batch in batches]
    # The machine has no key, and numbers tell nothing.
    _put(store.with_seal(UNSEALED), batches_key(job, plan), json.dumps(names).encode())


def write_batch(job: Job, store: ObjectStore, plan: str, name: str, items: Iterable[WorkItem]) -> None:
    """Write what a batch reads."""
    found = [
        [encode_record(item.relation).decode(), item.size, item.pages, item.heap, item.shared]
        for item in items
    ]
    _put(store, _batch_key(job, plan, name), zstandard.compress(json.dumps(found).encode()))


def read_batch(job: Job, store: ObjectStore, plan: str, name: str) -> list[WorkItem]:
    """What a batch reads."""
    return [
        WorkItem(_relation(record), size, (pages[0], pages[1]) if pages else None, heap, shared)
        for record, size, pages, heap, shared in _get(store, _batch_key(job, plan, name))
    ]


def write_draft(
    job: Job, store: ObjectStore, plan: str, draft: Manifest, catalog: PartFile, batches: Sequence[Batch]
) -> None:
    """Write what the commit needs of the plan: the manifest's draft, and what must be there."""
    planned = [[batch_name(b.number), [[i.relation.id, i.relation.piece] for i in b.items]] for b in batches]
    paper = {
        "manifest": draft.model_dump(mode="json", by_alias=True),
        "catalog": catalog.model_dump(mode="json"),
        "planned": planned,
    }
    _put(store, _draft_key(job, plan), zstandard.compress(json.dumps(paper).encode()))


def read_draft(
    job: Job, store: ObjectStore, plan: str
) -> tuple[Manifest, PartFile, dict[str, set[tuple[int, int]]]]:
    """The manifest's draft, the part with the catalog, and the sections (relation, piece) of each batch."""
    paper = _get(store, _draft_key(job, plan))
    planned = {name: {(one[0], one[1]) for one in sections} for name, sections in paper["planned"]}
    return Manifest.model_validate(paper["manifest"]), PartFile.model_validate(paper["catalog"]), planned


def write_known_file(job: Job, store: ObjectStore, path: Path) -> None:
    """Share what the newest backup recorded of its chunks, if there is one."""
    if path.exists():
        _put(store, _key(job, "known"), path.read_bytes())


def fetch_known_file(job: Job, store: ObjectStore, folder: Path) -> Path:
    """The same, in a folder of this function's own; the file is missing if there is none."""
    path, key = folder / "known", _key(job, "known")
    with suppress(ObjectMissingError), store.get(key) as body, path.open("wb") as file:
        shutil.copyfileobj(store.seal.opened(body, key), file)
    return path


def _key(job: Job, name: str) -> str:
    return f"{job.prefix}work/{name}"


def _batch_key(job: Job, plan: str, name: str) -> str:
    return _key(job, f"{plan}/batch-{name}.json.zst")


def _draft_key(job: Job, plan: str) -> str:
    return _key(job, f"{plan}/draft.json.zst")


def _put(store: ObjectStore, key: str, body: bytes) -> None:
    """Write a paper.  One that is there already was written by the same step, which is being repeated."""
    with suppress(ObjectExistsError):
        put_bytes(store, key, b"".join(store.seal.sealed([body], key)))


def _get(store: ObjectStore, key: str) -> Any:
    with store.get(key) as body:
        packed = store.seal.opened(body, key).read()
        reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed))
        return json.loads(reader.read(MAX_BYTES))


def _relation(record: str) -> Relation:
    found = decode_record(record.encode())
    if not isinstance(found, Relation):
        raise ProtocolViolationError("a batch holds a record that isn't a relation")
    return found
