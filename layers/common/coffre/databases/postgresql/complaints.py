"""What pg_restore says of the entries that it could not restore, read from its standard error.

Without ``--exit-on-error`` it goes on, and with ``--verbose`` it says for each of them
(``warn_or_exit_horribly`` in pg_backup_archiver.c)::

    pg_restore: from TOC entry 3357; 2606 16395 FK CONSTRAINT orders orders_item_fkey owner
    pg_restore: error: could not execute query: ERROR:  insert or update on table "orders" violates ...
    Command was: ALTER TABLE ONLY public.orders ...

The entry's number decides which one it was; the texts are only handed on, without values of rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coffre.databases.postgresql.archive import ArchiveEntry
from coffre.databases.postgresql.said import COMMAND, without_values

_ENTRY = re.compile(rb"pg_restore: from TOC entry (\d+); ")
_ANYWHERE = re.compile(rb"from TOC entry (\d+); \d+ \d+ ")
_ERROR = b"pg_restore: error: "
_QUERY = b"could not execute query: "
_MESSAGE_BYTES = 1000


@dataclass(frozen=True)
class Complaint:
    """An entry of an archive that could not be restored, and what the server said."""

    entry: ArchiveEntry
    message: str

    @property
    def dump_id(self) -> int:
        """The entry's number in the archive."""
        return self.entry.dump_id


def read_complaints(said: Path, entries: Mapping[int, ArchiveEntry]) -> list[Complaint]:
    """The entries that pg_restore, without jobs, complained about: each once, with the first message.

    Parameters
    ----------
    said:
        Its standard error.
    entries:
        Those that it was to restore, by their number; others are ignored.
    """
    messages: dict[int, bytes] = {}
    current, reading = 0, False
    with said.open("rb") as lines:
        for line in without_values(lines):
            found = _ENTRY.match(line)
            if found:
                current, reading = int(found[1]), False
            elif line.startswith(_ERROR):
                reading = not messages.get(current)
            elif line.startswith(COMMAND):
                reading = False
            if current in entries:
                messages.setdefault(current, b"")
                if reading and len(messages[current]) < _MESSAGE_BYTES:
                    messages[current] += line.removeprefix(_ERROR).removeprefix(_QUERY)
    return [
        Complaint(entries[number], " ".join(text[:_MESSAGE_BYTES].decode("utf-8", "replace").split()))
        for number, text in messages.items()
    ]


def suspects(said: Path) -> set[int]:
    """The numbers of all entries that pg_restore, with jobs, complained about.

    Its jobs write into each other's lines, so which message belongs to which entry can't be told.
    """
    with said.open("rb") as lines:
        return {int(number) for line in lines for number in _ANYWHERE.findall(line)}
