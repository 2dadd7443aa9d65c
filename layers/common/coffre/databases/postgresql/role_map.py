"""Which roles an archive of pg_dump names, and giving what it holds to others before pg_restore sees it.

pg_restore can leave owners and grants out, but not change them.  So the archive's table of contents is
written anew: each entry's owner, and the roles in the statements of grants, policies and user mappings.
The form of an archive is explained in `coffre.databases.postgresql.toc`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from coffre.databases.postgresql.toc import NAMING, TocEntry, TocReader

_KNOWN_POSITION = 2
OWNERLESS = frozenset({"ACL", "COMMENT", "DEFAULT ACL", "SECURITY LABEL"})
"""Entries whose owner is that of what they are about: they are given to nobody."""

_DATABASE = "DATABASE"
"""The first word of a database's own entries, or of what they are about: pg_restore leaves those out.
Source: ``_tocEntryRequired`` in pg_backup_archiver.c"""

_TOKEN = re.compile(
    r"""(?P<quoted>"(?:[^"]|"")*")|E'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"""
    r"""|(?P<word>[A-Za-z_\x80-\xff][\w$\x80-\xff]*)|\s+|.""",
    re.DOTALL,
)


def map_roles(archive: Path, out: Path, mapping: Mapping[str, str], codec: str) -> None:
    """Write ``archive`` to ``out`` with other roles.

    Parameters
    ----------
    mapping:
        The new role by the old one; others stay.
    codec:
        Of the archive's text, which is in its database's encoding.

    Raises
    ------
    ToolFailedError
        If it isn't an archive in the custom format that this knows.
    """
    # Byte for byte: all encodings of databases have ASCII's characters.
    bytewise = {_bytewise(old, codec): _bytewise(new, codec) for old, new in mapping.items()}
    with archive.open("rb") as source, out.open("wb") as target:
        before, after = _measure(source, bytewise)
        source.seek(0)
        _Writer(target, bytewise, after - before).copy(TocReader(source))
        shutil.copyfileobj(source, target)


def named_roles(toc: Iterable[TocEntry]) -> set[str]:
    """The roles that a restore of these entries names: owners, and those in statements about rights."""
    found = set()
    for entry in toc:
        about = entry.tag if entry.description in OWNERLESS else entry.description
        if about.partition(" ")[0] == _DATABASE:
            continue
        if entry.description not in OWNERLESS and entry.owner:
            found.add(entry.owner)
        tokens = _tokens(entry.statement, user_mapping=entry.description == "USER MAPPING")
        found.update(role for _, role in tokens if role is not None)
    return found


def map_statement(statement: str, mapping: Mapping[str, str], *, user_mapping: bool = False) -> str:
    """A statement of pg_dump's about rights, with other roles.

    Parameters
    ----------
    user_mapping:
        Whether the name behind ``FOR`` is a role.
    """
    return "".join(
        _identifier(mapping[role]) if role is not None and role in mapping else text
        for text, role in _tokens(statement, user_mapping=user_mapping)
    )


def _tokens(statement: str, *, user_mapping: bool) -> Iterator[tuple[str, str | None]]:
    """The pieces of a statement, each with the role that it names, if it names one.

    pg_dump writes keywords in capitals and quotes a name unless it is all small: none is taken for the other.
    """
    introduces = {"TO", "FROM", "ROLE", "AUTHORIZATION"} | ({"FOR"} if user_mapping else set())
    depth, state = 0, ""
    for match in _TOKEN.finditer(statement):
        text, role = match[0], None
        if text in "()":
            depth += 1 if text == "(" else -1
        if not depth and not text.isspace():
            if state == "role":
                role, state = _name(match), "listed"
            elif match["word"] in introduces or (state == "listed" and text == ","):
                state = "role"
            else:
                state = ""
        yield text, role


def _name(match: re.Match[str]) -> str | None:
    if match["quoted"]:
        return match["quoted"][1:-1].replace('""', '"')
    word = match["word"]
    return word if word and word == word.lower() else None


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _bytewise(name: str, codec: str) -> str:
    return name.encode(codec).decode("latin-1")


class _Writer:
    """Writes a table of contents with other roles; positions of data move by ``shift`` bytes."""

    def __init__(self, target: BinaryIO | None, mapping: Mapping[str, str], shift: int) -> None:
        self._target = target
        self._mapping = mapping
        self._shift = shift
        self.written = 0

    def copy(self, reader: TocReader) -> None:
        """Copy everything up to the first byte of data."""
        self._int = reader.head[8]
        self._put(reader.head)
        self._put(reader.take(1) if reader.minor >= 15 else reader.number().raw)  # compression
        for _ in range(7):  # the time
            self._put(reader.number().raw)
        for _ in range(3):  # the database's name, the versions of server and tool
            self._text(reader.text())
        count = reader.number()
        self._put(count.raw)
        for _ in range(count.value):
            self._entry(reader)

    def _entry(self, reader: TocReader) -> None:
        self._put(reader.number().raw + reader.number().raw)  # dump id, has data
        for _ in range(3):  # catalogue, OID, tag
            self._text(reader.text())
        description = reader.text()
        self._text(description)
        self._put(reader.number().raw)  # section
        for _ in range(2):  # what makes it, what drops it
            self._text(self._statement(description, reader.text()))
        for _ in range(4):  # COPY, schema, tablespace, access method
            self._text(reader.text())
        if reader.minor >= 16:
            self._put(reader.number().raw)  # kind of relation
        owner = reader.text()
        self._text(owner if owner is None else self._mapping.get(owner, owner))
        self._text(reader.text())  # WITH OIDS
        while (dependency := reader.text()) is not None:
            self._text(dependency)
        self._text(None)
        state, position = reader.take(1), int.from_bytes(reader.take(reader.offset), "little")
        moved = position + (self._shift if state[0] == _KNOWN_POSITION else 0)
        self._put(state + moved.to_bytes(reader.offset, "little"))

    def _statement(self, description: str | None, text: str | None) -> str | None:
        if text is None or description not in NAMING:
            return text
        return map_statement(text, self._mapping, user_mapping=description == "USER MAPPING")

    def _text(self, text: str | None) -> None:
        raw = b"" if text is None else text.encode("latin-1")
        length = (1).to_bytes(self._int, "little") if text is None else len(raw).to_bytes(self._int, "little")
        self._put((b"\x01" if text is None else b"\x00") + length + raw)

    def _put(self, data: bytes) -> None:
        self.written += len(data)
        if self._target is not None:
            self._target.write(data)


def _measure(source: BinaryIO, mapping: Mapping[str, str]) -> tuple[int, int]:
    """How long the table of contents is, and how long it will be."""
    writer = _Writer(None, mapping, 0)
    writer.copy(TocReader(source))
    return source.tell(), writer.written
