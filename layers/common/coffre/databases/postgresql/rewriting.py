"""Writing an archive of pg_dump anew with other statements, which pg_restore can leave out and not change.

The form of an archive is explained in `coffre.databases.postgresql.toc`.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import BinaryIO

from coffre.databases.postgresql.toc import TocReader

_KNOWN_POSITION = 2

TOKEN = re.compile(
    r"""(?P<quoted>"(?:[^"]|"")*")|E'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"""
    r"""|(?P<word>[A-Za-z_\x80-\xff][\w$\x80-\xff]*)|\s+|.""",
    re.DOTALL,
)
"""A piece of a statement as pg_dump writes it: a quoted name, a literal, a word, white space, or a sign."""


class Edit:
    """What is changed in each entry; text is Latin-1, so that every byte stays what it is."""

    def owner(self, name: str) -> str:
        """The owner of an entry instead of this one."""
        return name

    def statement(self, description: str, text: str) -> str:
        """What makes an entry, or drops it, instead of this."""
        del description
        return text


def rewrite(archive: Path, out: Path, edit: Edit) -> None:
    """Write ``archive`` to ``out`` with changes.

    Raises
    ------
    ToolFailedError
        If it isn't an archive in the custom format that this knows.
    """
    with archive.open("rb") as source, out.open("wb") as target:
        before, after = _measure(source, edit)
        source.seek(0)
        _Writer(target, edit, after - before).copy(TocReader(source))
        shutil.copyfileobj(source, target)


class _Writer:
    """Writes a table of contents that is edited; positions of data move by ``shift`` bytes."""

    def __init__(self, target: BinaryIO | None, edit: Edit, shift: int) -> None:
        self._target = target
        self._edit = edit
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
            text = reader.text()
            self._text(text and self._edit.statement(description or "", text))
        for _ in range(4):  # COPY, schema, tablespace, access method
            self._text(reader.text())
        if reader.minor >= 16:
            self._put(reader.number().raw)  # kind of relation
        owner = reader.text()
        self._text(owner and self._edit.owner(owner))
        self._text(reader.text())  # WITH OIDS
        while (dependency := reader.text()) is not None:
            self._text(dependency)
        self._text(None)
        state, position = reader.take(1), int.from_bytes(reader.take(reader.offset), "little")
        moved = position + (self._shift if state[0] == _KNOWN_POSITION else 0)
        self._put(state + moved.to_bytes(reader.offset, "little"))

    def _text(self, text: str | None) -> None:
        raw = b"" if text is None else text.encode("latin-1")
        length = (1).to_bytes(self._int, "little") if text is None else len(raw).to_bytes(self._int, "little")
        self._put((b"\x01" if text is None else b"\x00") + length + raw)

    def _put(self, data: bytes) -> None:
        self.written += len(data)
        if self._target is not None:
            self._target.write(data)


def _measure(source: BinaryIO, edit: Edit) -> tuple[int, int]:
    """How long the table of contents is, and how long it will be."""
    writer = _Writer(None, edit, 0)
    writer.copy(TocReader(source))
    return source.tell(), writer.written
