"""The table of contents of pg_dump's archives, read from the file itself: more than pg_restore lists.

Source: ``WriteToc``, ``WriteStr``, ``WriteInt`` in pg_backup_archiver.c, ``_WriteExtraToc`` in
pg_backup_custom.c; format versions 1.14 (PostgreSQL 14) to 1.16 (18)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from coffre.errors import ToolFailedError

VERSIONS = range(14, 17)
NAMING = frozenset({"ACL", "DEFAULT ACL", "POLICY", "USER MAPPING"})
"""Entries whose statements name roles; the owner of any other stands beside its statement."""

_STATED = NAMING | {"CONSTRAINT"}

_CUSTOM = 1
_HEAD = 11


@dataclass(frozen=True)
class TocEntry:
    """One object of an archive.

    Attributes
    ----------
    catalogue, oid:
        Where it stood at the source.
    section:
        1: none, 2: before the rows, 3: rows, 4: after the rows.
    tablespace:
        Empty: the default one.
    needs:
        Dump ids of what it depends on.
    statement:
        What makes it, of a constraint and of an entry whose statement names roles; empty for others.
    """

    dump_id: int
    catalogue: int
    oid: int
    tag: str
    description: str
    section: int
    schema: str
    tablespace: str
    owner: str
    needs: tuple[int, ...]
    statement: str = ""


@dataclass(frozen=True)
class Number:
    """An integer as it stands in the archive."""

    value: int
    raw: bytes


class TocReader:
    """Reads a table of contents piece by piece; text is Latin-1, so that every byte stays what it is."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        head = self.take(_HEAD)
        self.head = head
        if head[:5] != b"PGDMP" or head[5] != 1 or head[6] not in VERSIONS or head[10] != _CUSTOM:
            raise ToolFailedError("the archive isn't of a version whose contents can be read")
        self.minor, self._int, self.offset = head[6], head[8], head[9]

    def take(self, count: int) -> bytes:
        """The next bytes."""
        data = self._source.read(count)
        if len(data) != count:
            raise ToolFailedError("the archive's table of contents is cut short")
        return data

    def number(self) -> Number:
        """The next integer."""
        raw = self.take(1 + self._int)
        value = int.from_bytes(raw[1:], "little")
        return Number(-value if raw[0] else value, raw)

    def text(self) -> str | None:
        """The next string."""
        length = self.number().value
        return None if length < 0 else self.take(length).decode("latin-1")


def read_toc(archive: Path, codec: str = "latin-1") -> list[TocEntry]:
    """The entries of an archive in the custom format.

    Parameters
    ----------
    codec:
        Of its names, which are in its database's encoding (`coffre.databases.postgresql.encodings`); the
        default reads any, for whoever needs none of them.

    Raises
    ------
    ToolFailedError
        If it isn't one that this knows.
    """
    with archive.open("rb") as source:
        reader = TocReader(source)
        reader.take(1) if reader.minor >= 15 else reader.number()  # compression
        for _ in range(7):  # the time
            reader.number()
        for _ in range(3):  # the database's name, the versions of server and tool
            reader.text()
        return [_entry(reader, codec) for _ in range(reader.number().value)]


def _entry(reader: TocReader, codec: str) -> TocEntry:
    def text() -> str:
        return (reader.text() or "").encode("latin-1").decode(codec)

    dump_id, _ = reader.number().value, reader.number()
    catalogue, oid, tag, description = text(), text(), text(), text()
    section = reader.number().value
    statement = text() if description in _STATED else reader.text()
    for _ in range(2):  # what drops it, COPY
        reader.text()
    schema, tablespace = text(), text()
    reader.text()  # access method
    if reader.minor >= 16:
        reader.number()  # kind of relation
    owner = text()
    reader.text()  # WITH OIDS
    needs = tuple(_needs(reader))
    reader.take(1 + reader.offset)  # where its data is
    return TocEntry(
        dump_id,
        int(catalogue),
        int(oid),
        tag,
        description,
        section,
        schema,
        tablespace,
        owner,
        needs,
        (statement or "") if description in _STATED else "",
    )


def _needs(reader: TocReader) -> Iterator[int]:
    while (dependency := reader.text()) is not None:
        yield int(dependency)
