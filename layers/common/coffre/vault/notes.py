"""Notes on backups: holds, releases and damage, each written once under ``notes/`` of its backup.

They lie in the vault, so an index that is made again from it keeps them.  Nothing is ever changed in place: a
release is a note of its own, which ends the holds before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from coffre.errors import ObjectCorruptError, ObjectMissingError
from coffre.events.base import UtcTime
from coffre.ids import BACKUP_ID, moment, stamp
from coffre.vault.files import put_bytes
from coffre.vault.layout import Layout
from coffre.vault.store import ObjectStore

What = Literal["hold", "pin", "release", "doubt", "damage"]
MAX_CHUNKS = 10_000
"""Chunk ids in one note at most; what is left out is found again by the next look."""

MAX_BYTES = 1 << 20
_NOTE = re.compile(r"(?P<time>[^/]+)-(?P<what>hold|pin|release|doubt|damage)\.json\Z")


@dataclass(frozen=True)
class Note:
    """A note's place: which backup it is about, when it was written, and what it says."""

    backup_id: str
    time: str
    what: What
    key: str


class Hold(BaseModel):
    """Keep this backup whatever the policy says.

    Attributes
    ----------
    until:
        When it ends by itself; None: only a release ends it.
    legal:
        S3 keeps each object of the backup by a legal hold as well.
    """

    model_config = ConfigDict(frozen=True)

    reason: str = ""
    until: UtcTime | None = None
    legal: bool = False


class Chunks(BaseModel):
    """The chunks that a note about damage or doubt is about, by id."""

    model_config = ConfigDict(frozen=True)

    chunks: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]], Field(max_length=MAX_CHUNKS)
    ]


def parse_note(layout: Layout, key: str) -> Note | None:
    """The note under a key; None if there is none of ours."""
    backup_id, _, name = key.removeprefix(layout.backups).partition("/notes/")
    found = _NOTE.match(name)
    if not found or not key.startswith(layout.backups) or not BACKUP_ID.match(backup_id):
        return None
    what: What = found["what"]  # type: ignore[assignment]  # the expression matches nothing else
    return Note(backup_id, found["time"], what, key)


def list_notes(store: ObjectStore, layout: Layout, backup_id: str) -> tuple[Note, ...]:
    """The notes on one backup, in the order of their times.

    Raises
    ------
    StoreUnavailableError
    """
    keys = (item.key for item in store.objects(layout.notes(backup_id)))
    return tuple(note for key in keys if (note := parse_note(layout, key)) is not None)


def write_note(
    store: ObjectStore, layout: Layout, backup_id: str, what: What, body: Hold | Chunks, time: datetime
) -> Note:
    """Write a note.

    Raises
    ------
    ObjectExistsError
        If one of this kind was written in the same microsecond.
    StoreUnavailableError
    """
    key = f"{layout.notes(backup_id)}{stamp(time)}-{what}.json"
    content = body.model_dump_json(exclude_defaults=True).encode()
    put_bytes(store, key, content)
    return Note(backup_id, stamp(time), what, key)


def active_holds(store: ObjectStore, notes: Iterable[Note], now: datetime) -> tuple[tuple[Note, Hold], ...]:
    """The holds that neither a release nor their own date has ended.

    A hold that can't be read holds all the same, without an end.

    Raises
    ------
    StoreUnavailableError
    """
    known = sorted(notes, key=lambda note: note.time)
    released = max((note.time for note in known if note.what == "release"), default="")
    standing = (note for note in known if note.what in ("hold", "pin") and note.time > released)
    held = [(note, _read_hold(store, note)) for note in standing]
    return tuple((note, hold) for note, hold in held if hold.until is None or hold.until > now)


def time_after(times: Iterable[str], now: datetime) -> datetime:
    """When a note is said to be written: now, or just after these times, whatever clocks told them.

    Notes and evidence count in the order of their times, and clocks differ: a hold whose time is before that
    of the release that it follows would hold nothing.

    Parameters
    ----------
    times:
        Of what the note follows, as in keys; what isn't a time is passed over.
    """
    latest = now
    for time in times:
        with suppress(ValueError, OverflowError):
            latest = max(latest, moment(time) + timedelta(microseconds=1))
    return latest


def describe_hold(note: Note, hold: Hold) -> str:
    """A hold as a phrase: since when, until when, and why."""
    until = f" until {hold.until:%Y-%m-%d %H:%M:%S} UTC" if hold.until else ""
    reason = f" ({hold.reason})" if hold.reason else ""
    return f"{'legal ' if hold.legal else ''}{note.what} of {note.time}{until}{reason}"


def read_chunks(store: ObjectStore, note: Note) -> list[str]:
    """The chunks that a note names; none if it can't be read.

    Raises
    ------
    StoreUnavailableError
    """
    try:
        return Chunks.model_validate_json(store.read(note.key, limit=MAX_BYTES)).chunks
    except (ValidationError, ObjectCorruptError, ObjectMissingError):
        return []


def newest_doubt(notes: Iterable[Note]) -> str | None:
    """When a chunk of the backup was last found damaged; None if never."""
    return max((note.time for note in notes if note.what == "doubt"), default=None)


def _read_hold(store: ObjectStore, note: Note) -> Hold:
    try:
        return Hold.model_validate_json(store.read(note.key, limit=MAX_BYTES))
    except (ValidationError, ObjectCorruptError, ObjectMissingError):
        return Hold()
