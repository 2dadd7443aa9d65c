"""What lies in the rehearsal's vault that no step of it writes: rows, parts, older backups, evidence.

``python -m bench.rehearsal.history capture|clone FILE``, with the order as JSON on standard input.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, groupby, islice
from pathlib import Path

from bench.rehearsal import catalog
from bench.rehearsal.bucket import Shelf
from bench.rehearsal.run import Rehearsal, backup_job
from coffre.backup.paperwork import batch_name
from coffre.backup.plan import Batch, plan_batches
from coffre.catalogue.ledger import BatchRecord, Ledger
from coffre.ids import stamp
from coffre.results import VerifyResult
from coffre.results.verify import Compared
from coffre.vault.layout import Layout
from coffre.vault.manifest import Manifest, PartFile, RefsFile, encode, root_hash
from coffre.vault.parts import PartWriter, Record
from coffre.vault.reader import load_manifest
from coffre.vault.refs import ID_BYTES

OWN_CHUNKS = 1000
"""One in so many chunks of an older backup is in no other one."""

PART_MILLISECONDS = 60_000


def capture(shelf: Shelf, rehearsal: Rehearsal) -> int:
    """Write what the workers would: chunks, parts, records in the ledger; the number of chunks.

    All objects are as old as the oldest backup.
    """
    job, services = backup_job(rehearsal)
    ledger = services.catalogue.ledger(job.database, job.attempt)
    modified = int(rehearsal.scheduled(rehearsal.backups).timestamp())
    first = 0
    for batch in plan_batches(catalog.tables(rehearsal.tables)):
        writing = _Part(first)
        writing.write(batch)
        body = writing.body
        digest = hashlib.sha256(body).hexdigest()
        key = f"{job.prefix}parts/{batch_name(batch.number)}-{digest}.ndjson.zst"
        part = PartFile(
            key=key,
            size=len(body),
            sha256=digest,
            bytes=writing.part.bytes,
            relations=writing.part.relations,
            chunks=writing.part.chunks,
        )
        shelf.fill([body], [(key, bytes.fromhex(digest), len(body), modified)])
        _record(ledger, batch, part, writing)
        first = writing.next
    links = (_chunk(number, modified) for number in range(first))
    shelf.fill(map(catalog.packed, range(first)), links)
    ledger.end("open", "released")
    return first


class _Part:
    """A worker's part, and its sums; its chunks' numbers begin with ``first``."""

    def __init__(self, first: int) -> None:
        self._out = io.BytesIO()
        self.part = PartWriter(self._out)
        self.next = first
        self.sections = self.rows = self.plain = self.digest = 0

    def write(self, batch: Batch) -> None:
        """Write a batch's records."""
        for item in batch.items:
            held = list(catalog.chunks(item, self.next))
            end = catalog.end_of(item.relation.id, held)
            records: list[Record] = [item.relation, *held, end]
            for record in records:
                self.part.write(record)
            self.next += len(held)
            self.sections += 1
            self.rows, self.plain = self.rows + end.rows, self.plain + end.bytes
            self.digest = (self.digest + int(end.digest, 16)) % (1 << 128)
        self.part.close()

    @property
    def body(self) -> bytes:
        """The finished part."""
        return self._out.getvalue()


def _record(ledger: Ledger, batch: Batch, part: PartFile, written: _Part) -> None:
    ledger.finish(
        BatchRecord(
            batch_name(batch.number),
            part=part.model_dump_json(),
            sections=written.sections,
            rows=written.rows,
            bytes=written.plain,
            digest=f"{written.digest:032x}",
            new_chunks=part.chunks,
            new_bytes=written.plain * catalog.STORED_PERCENT // 100,
            size=batch.size,
            milliseconds=PART_MILLISECONDS,
        )
    )


def _chunk(number: int, modified: int) -> tuple[str, bytes, int, int]:
    identifier = hashlib.sha256(catalog.content(number)).hexdigest()
    digest = hashlib.sha256(catalog.packed(number)).digest()
    return Layout(catalog.DATABASE).chunk(identifier), digest, 5_000_000, modified


def clone(shelf: Shelf, rehearsal: Rehearsal, chunks: int) -> None:
    """Add the older backups: copies of the newest one, but for a few chunks of their own; and all evidence.

    Parameters
    ----------
    chunks:
        How many the newest backup has; further numbers are free.
    """
    _, services = backup_job(rehearsal)
    newest, digest = load_manifest(services.store, catalog.DATABASE, rehearsal.backup_id(0))
    evidence = _evidence(rehearsal, newest, digest, 0)
    shelf.fill([evidence[1]], [_link(*evidence, rehearsal, 0)])
    references = _References(shelf, newest, chunks)
    for age in range(1, rehearsal.backups):
        _clone(shelf, rehearsal, newest, references, age)


@dataclass(frozen=True)
class _Twin:
    """How the keys of an older backup follow from the newest one's."""

    newest: Manifest
    identifier: str
    attempt: str

    def key(self, key: str) -> str:
        """The older backup's key."""
        return key.replace(f"{self.newest.id}/{self.newest.attempt}/", f"{self.identifier}/{self.attempt}/")


def _clone(shelf: Shelf, rehearsal: Rehearsal, newest: Manifest, references: _References, age: int) -> None:
    identifier = rehearsal.backup_id(age)
    twin = _Twin(newest, identifier, hashlib.sha256(identifier.encode()).hexdigest()[:12])
    number, ids, own = references.changed(age)
    body = b"".join(ids)
    digest = hashlib.sha256(body).hexdigest()
    refs = [file.model_copy(update={"key": twin.key(file.key)}) for file in newest.refs]
    key = refs[number].key.rpartition("-")[0]
    refs[number] = refs[number].model_copy(update={"key": f"{key}-{digest}", "sha256": digest})
    completed = stamp(rehearsal.scheduled(age))
    manifest = newest.model_copy(
        update={
            "id": identifier,
            "attempt": twin.attempt,
            "started": completed,
            "completed": completed,
            "files": [file.model_copy(update={"key": twin.key(file.key)}) for file in newest.files],
            "parts": [file.model_copy(update={"key": twin.key(file.key)}) for file in newest.parts],
            "refs": refs,
        }
    )
    written = encode(manifest)
    evidence = _evidence(rehearsal, manifest, root_hash(written), age)
    modified = int(rehearsal.scheduled(age).timestamp())
    files = [*manifest.files, *manifest.parts, *refs]
    links = [(file.key, bytes.fromhex(file.sha256), file.size, modified) for file in files]
    links += [_link(Layout(catalog.DATABASE).manifest(identifier), written, rehearsal, age)]
    links += [_link(*evidence, rehearsal, age), *(_chunk(number, modified) for number in own)]
    shelf.fill([body, written, evidence[1], *map(catalog.packed, own)], links)


def _link(key: str, body: bytes, rehearsal: Rehearsal, age: int) -> tuple[str, bytes, int, int]:
    return key, hashlib.sha256(body).digest(), len(body), int(rehearsal.scheduled(age).timestamp())


def _evidence(rehearsal: Rehearsal, manifest: Manifest, digest: str, age: int) -> tuple[str, bytes]:
    key = f"{Layout(catalog.DATABASE).proofs(manifest.id)}{stamp(rehearsal.scheduled(age))}.json"
    totals = manifest.totals
    result = VerifyResult(
        database=manifest.database,
        backup_id=manifest.id,
        verdict="proven",
        reasons=[],
        root_hash=digest,
        completed=manifest.completed,
        tables=totals.relations,
        rows=totals.rows,
        bytes=totals.bytes,
        compared=Compared(tables=totals.relations, rows=totals.rows),
        evidence=key,
        seconds=1.0,
    )
    return key, result.model_dump_json().encode()


class _References:
    """The newest backup's references, and those of the older ones, which differ in one file each."""

    def __init__(self, shelf: Shelf, newest: Manifest, chunks: int) -> None:
        self._files = [_ids(shelf, file) for file in newest.refs]
        self._places = {
            first: number
            for number, file in enumerate(newest.refs)
            for first in range(int(file.first, 16), int(file.last, 16) + 1)
        }
        self._own = max(1, chunks // OWN_CHUNKS)
        self._numbers = count(chunks)
        self._spare: list[list[int]] = [[] for _ in newest.refs]

    def changed(self, age: int) -> tuple[int, list[bytes], list[int]]:
        """Which file is another one, its ids, and the numbers of the chunks that no other backup has."""
        number = age % len(self._files)
        own = list(islice(self._numbers_in(number), self._own))
        ids = set(self._files[number])
        victims = {
            first: iter(list(known)) for first, known in groupby(self._files[number], lambda known: known[0])
        }
        for chunk in own:
            identifier = hashlib.sha256(catalog.content(chunk)).digest()
            # One of the same first byte goes, so that files keep their ranges.
            ids.discard(next(victims[identifier[0]]))
            ids.add(identifier)
        return number, sorted(ids), own

    def _numbers_in(self, file: int) -> Iterator[int]:
        """Numbers of new chunks that this file would name."""
        while True:
            while self._spare[file]:
                yield self._spare[file].pop()
            number = next(self._numbers)
            first = hashlib.sha256(catalog.content(number)).digest()[0]
            if first in self._places:
                self._spare[self._places[first]].append(number)


def _ids(shelf: Shelf, file: RefsFile) -> list[bytes]:
    body = shelf.body(bytes.fromhex(file.sha256))
    return [body[at : at + ID_BYTES] for at in range(0, len(body), ID_BYTES)]


def main(what: str, file: Path) -> None:
    """Write what is missing; prints the number of chunks of the newest backup."""
    order = json.load(sys.stdin)
    rehearsal, shelf = Rehearsal.of(order), Shelf(file)
    if what == "capture":
        order["chunks"] = capture(shelf, rehearsal)
    else:
        clone(shelf, rehearsal, order["chunks"])
    shelf.close()
    print(order["chunks"])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
