"""Read everything of a backup back, and compare it with what was recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

from coffre.errors import ManifestInvalidError, ObjectCorruptError, ObjectMissingError
from coffre.results import Finding
from coffre.vault.contents import Contents, read_contents, read_sections
from coffre.vault.digest import MODULUS
from coffre.vault.locate import locate
from coffre.vault.manifest import StoredFile
from coffre.vault.parts import Chunk, Relation, encode_record
from coffre.vault.refs import read_ids
from coffre.verify.job import Verification
from coffre.verify.read import ReadTask
from coffre.verify.reasons import refusal
from coffre.workers import Message, workers_for

ITEM_BYTES = 32 << 20


def read_back(work: Verification) -> list[Finding]:
    """Read everything, and return what is damaged; sets ``work.hidden``."""
    try:
        contents = read_contents(work.store, work.manifest, work.spool)
    except (ManifestInvalidError, ObjectCorruptError, ObjectMissingError) as error:
        return [refusal(error)]
    return _files(work) + _chunks(work, contents) + _references(work)


def _files(work: Verification) -> list[Finding]:
    """Read back schema, globals, large objects and parts."""
    findings = []
    files: list[StoredFile] = [*work.manifest.files, *work.manifest.parts]
    for file in files:
        try:
            version, body = locate(work.store, file.key, size=file.size, sha256=file.sha256)
            body.close()
            if version is not None:
                work.hidden[file.key] = version
        except (ObjectCorruptError, ObjectMissingError) as error:
            findings.append(refusal(error, file.key))
    return findings


def _chunks(work: Verification, contents: Contents) -> list[Finding]:
    """Read back every chunk, and compare rows, bytes and digest of each relation."""
    damage: list[Finding] = []
    rows: dict[int, int] = defaultdict(int)
    digests: dict[int, int] = defaultdict(int)
    with closing(_answers(work)) as answers:
        for item, answer in answers:
            work.meter.add(rows=answer["rows"], done=answer["bytes"])
            rows[item["id"]] += answer["rows"]
            digests[item["id"]] = (digests[item["id"]] + int(answer["digest"], 16)) % MODULUS
            work.hidden.update(answer["hidden"])
            damage += [_damage(entry, item["label"]) for entry in answer["damaged"]]
    if damage:
        return damage
    return [
        Finding(
            level="refuse",
            code="content-differs",
            object=contents.relations[number].label,
            message=f"the chunks of {contents.relations[number].label} don't add up to its digest",
        )
        for number, end in contents.ends.items()
        if (rows[number], digests[number]) != (end.rows, int(end.digest, 16))
    ]


def _answers(work: Verification) -> Generator[tuple[Message, Message]]:
    """Every item and what reading it gave, in any order."""
    totals = work.manifest.totals
    number = workers_for(totals.bytes, totals.chunks)
    if number == 1:  # read before a worker would have started
        reader = ReadTask(work.store)
        for item in _items(work):
            work.check_time()
            yield item, reader.run(item)
        return
    setup = {"task": "read", "bucket": work.store.bucket, "seal": work.store.seal.hand_over()}
    with work.services.start_workers([setup] * number, work.check_time) as pool:
        yield from pool.map(_items(work))
        pool.finish()


def _items(work: Verification) -> Iterator[Message]:
    for section in read_sections(work.spool):
        run: list[Chunk] = []
        for chunk in section.chunks:
            run.append(chunk)
            if sum(held.bytes for held in run) >= ITEM_BYTES:
                yield _item(section.relation, run)
                run = []
        if run:
            yield _item(section.relation, run)


def _references(work: Verification) -> list[Finding]:
    """Rotation trusts the references, so they must name exactly the chunks of the parts."""
    named = {bytes.fromhex(chunk.id) for section in read_sections(work.spool) for chunk in section.chunks}
    try:
        listed = set(read_ids(work.store, work.manifest))
    except (ManifestInvalidError, ObjectCorruptError, ObjectMissingError) as error:
        return [refusal(error)]
    if named == listed:
        return []
    message = f"the references of {work.manifest.id} aren't the chunks of its parts"
    return [Finding(level="refuse", code="references-differ", object=work.manifest.id, message=message)]


def _item(relation: Relation, run: Sequence[Chunk]) -> Message:
    chunks = [encode_record(chunk).decode() for chunk in run]
    return {"id": relation.id, "label": relation.label, "text": relation.is_table, "chunks": chunks}


def _damage(entry: dict[str, str], label: str) -> Finding:
    message = f"{entry['message']} (rows of {label})"
    return Finding(
        level="refuse", code=entry["code"], object=entry["key"], message=message, advice=entry["advice"]
    )
