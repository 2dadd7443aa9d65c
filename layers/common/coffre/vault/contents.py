"""What a backup consists of, gathered from its parts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from coffre.errors import ManifestInvalidError, disk_full_named
from coffre.vault.digest import add_digests
from coffre.vault.manifest import Manifest
from coffre.vault.objects import ChunkReader
from coffre.vault.parts import (
    Chunk,
    DatabaseRecord,
    Described,
    End,
    LargeObjects,
    Record,
    Relation,
    Role,
    decode_record,
    encode_record,
)
from coffre.vault.reader import read_part


@dataclass(frozen=True)
class Section:
    """One relation, or one piece of it: its chunks and what they add up to."""

    relation: Relation
    chunks: tuple[Chunk, ...]
    end: End


@dataclass
class Contents:
    """Everything that the parts of a manifest say, chunks excepted: those stay in scratch space.

    Attributes
    ----------
    ends:
        The sums of each relation over its pieces, by the relation's id.
    """

    roles: list[Role] = field(default_factory=list)
    database: DatabaseRecord | None = None
    described: list[Described] = field(default_factory=list)
    large_objects: list[LargeObjects] = field(default_factory=list)
    sequences: list[Relation] = field(default_factory=list)
    relations: dict[int, Relation] = field(default_factory=dict)
    ends: dict[int, End] = field(default_factory=dict)
    chunks: int = 0


def read_contents(reader: ChunkReader, manifest: Manifest, spool: Path) -> Contents:
    """Read all parts; the sections are written to ``spool`` for `read_sections`.

    Raises
    ------
    ManifestInvalidError
        If the parts contradict themselves or the manifest's totals.
    ObjectMissingError, ObjectCorruptError, StoreUnavailableError
    """
    contents = Contents()
    open_relation: Relation | None = None
    with spool.open("wb") as out:
        for record in (record for part in manifest.parts for record in read_part(reader, part)):
            open_relation = _take(contents, record, open_relation)
            if isinstance(record, Chunk | End) or record is open_relation:
                out.write(encode_record(record))
    _check_totals(contents, manifest)
    return contents


def _take(contents: Contents, record: Record, open_relation: Relation | None) -> Relation | None:
    """Take one record; the relation whose section is open after it."""
    if isinstance(record, Role):
        contents.roles.append(record)
    elif isinstance(record, DatabaseRecord):
        contents.database = record
    elif isinstance(record, Described):
        contents.described.append(record)
    elif isinstance(record, LargeObjects):
        contents.large_objects.append(record)
    elif isinstance(record, Relation) and record.kind == "sequence":
        contents.sequences.append(record)
    elif isinstance(record, Relation):
        contents.relations.setdefault(record.id, record)
        return record
    elif open_relation is None:
        raise ManifestInvalidError("a part has a chunk or an end outside of a relation's section")
    elif isinstance(record, Chunk):
        contents.chunks += 1
        return open_relation
    else:
        _add_end(contents, record, open_relation)
        return None
    return open_relation


def _add_end(contents: Contents, end: End, relation: Relation) -> None:
    if end.relation != relation.id:
        raise ManifestInvalidError(f"a part ends relation {end.relation} in the section of {relation.label}")
    before = contents.ends.get(end.relation)
    if before is not None:
        digest = add_digests(before.digest, end.digest)
        generated = add_digests(before.generated, end.generated) if end.generated else ""
        end = End(end.relation, before.rows + end.rows, before.bytes + end.bytes, digest, generated)
    contents.ends[end.relation] = end


def _check_totals(contents: Contents, manifest: Manifest) -> None:
    tables = {number for number, relation in contents.relations.items() if relation.is_table}
    found = (
        len(tables),
        len(contents.sequences),
        sum(end.rows for number, end in contents.ends.items() if number in tables),
        sum(end.bytes for end in contents.ends.values()),
    )
    totals = manifest.totals
    expected = (totals.relations, totals.sequences, totals.rows, totals.bytes)
    if found != expected or set(contents.ends) != set(contents.relations):
        raise ManifestInvalidError(
            f"the parts of {manifest.id} hold {found} relations, sequences, rows, bytes, expected {expected}"
        )


def read_sections(spool: Path) -> Iterator[Section]:
    """The sections that `read_contents` wrote."""
    with spool.open("rb") as lines:
        while (section := _read_section(lines)) is not None:
            yield section


def largest_first(spool: Path) -> Iterator[Section]:
    """All sections, those with most bytes first, so that parallel work ends together; it holds one."""
    places: list[tuple[int, int]] = []
    with spool.open("rb") as lines:
        place = 0
        while (section := _read_section(lines)) is not None:
            places.append((-section.end.bytes, place))
            place = lines.tell()
        for _, place in sorted(places):
            lines.seek(place)
            section = _read_section(lines)
            if section is not None:
                yield section


def _read_section(lines: BinaryIO) -> Section | None:
    """The section that begins here; None at the end."""
    relation: Relation | None = None
    chunks: list[Chunk] = []
    for line in iter(lines.readline, b""):
        record = decode_record(line)
        if isinstance(record, Relation):
            relation, chunks = record, []
        elif isinstance(record, Chunk):
            chunks.append(record)
        elif isinstance(record, End) and relation is not None:
            return Section(relation, tuple(chunks), record)
    return None


@contextmanager
def scratch_folder(scratch: Path, purpose: str) -> Iterator[Path]:
    """A new folder of this run's own in scratch space, removed at the end.

    Raises
    ------
    DiskFullError
        For what runs inside, too.
    """
    with disk_full_named():
        folder = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=scratch))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
