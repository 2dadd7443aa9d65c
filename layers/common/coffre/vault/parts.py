"""Parts: the records of a backup's roles, relations and chunks, as zstd-compressed lines of JSON.

A part is a sequence of sections.  A section starts with a `Relation`, goes on with its `Chunk` records in the
order of their rows, and ends with an `End` that holds the counts and the digest.  A relation that was read in
pieces has one section for each piece; rows and bytes add up, and so do digests.  `Role`, `DatabaseRecord`,
`Described` and `LargeObjects` stand alone.  Both sides stream: neither a writer nor a reader holds more than
one line.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, BinaryIO, Literal

import zstandard

from coffre.errors import ManifestInvalidError

RelationKind = Literal["table", "leaf", "sequence", "extension_config", "large_objects"]
MAX_LINE = 8 << 20
"""Bytes in one record at most: 1,600 columns with names and types stay far below."""


ADMIN = "ADMIN OPTION"
"""The option of a membership by which a member may grant the group to others."""

OPTIONS = frozenset({ADMIN, "INHERIT TRUE", "INHERIT FALSE", "SET FALSE"})
"""Of memberships, as GRANT takes them."""


@dataclass(frozen=True)
class Role:
    """A role of the source's cluster, without its password.

    ``used`` if something in the database belongs to it, is granted to it, or has a policy for it.
    ``options`` are pairs of a group and one of `OPTIONS`, where the membership isn't what GRANT by itself
    gives: no ADMIN, SET, and INHERIT as by the role's attribute.  Older backups have none.
    """

    name: str
    attributes: tuple[str, ...]
    member_of: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    used: bool = False
    options: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if any(option not in OPTIONS for _, option in self.options):
            raise ValueError(f"a membership of role {self.name} has an unknown option")


@dataclass(frozen=True)
class DatabaseRecord:
    """What belongs to the database itself: its owner, comment, grants and settings."""

    owner: str
    comment: str | None
    grants: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    """(role or "", "name=value"): settings made by ALTER DATABASE and ALTER ROLE ... IN DATABASE."""


@dataclass(frozen=True)
class Described:
    """The rights and the comment of an object that has any; so that a restore can be compared with them.

    ``kind`` and ``name`` are those of ``pg_identify_object``; ``grants`` says what differs from the default
    (``+`` granted, ``-`` revoked); ``comment`` is the SHA-256 of the comment's text, or empty.
    """

    kind: str
    name: str
    grants: tuple[str, ...] = ()
    comment: str = ""


@dataclass(frozen=True)
class LargeObjects:
    """Large objects that have the same owner, rights and comment; what is in them are rows of a relation.

    ``ids`` are their numbers, ascending, with commas between them.  ``grants`` are pairs of a role (or "" for
    everybody) and a privilege, as in GRANT; None stands for the rights that the owner has by default.
    """

    owner: str
    ids: str
    grants: tuple[tuple[str, str], ...] | None = None
    comment: str | None = None


@dataclass(frozen=True)
class Column:
    """A column in COPY order."""

    name: str
    type: str


@dataclass(frozen=True)
class Relation:
    """Something with rows: those of a table, or pieces of large objects.

    ``id`` numbers relations within a backup.  ``load`` says how rows go back: into the relation itself
    (``self``) or through the root of its partition tree (``root``), whose name then stands in ``root_schema``
    and ``root_name``.  ``last_value`` and ``is_called`` belong to sequences, ``condition`` to extension
    configuration.  ``generated`` names stored generated columns: no rows hold them, but their digest is kept.
    """

    id: int
    kind: RelationKind
    schema: str
    name: str
    owner: str
    columns: tuple[Column, ...] = ()
    load: Literal["self", "root"] = "self"
    root_schema: str | None = None
    root_name: str | None = None
    condition: str | None = None
    last_value: str | None = None
    is_called: bool | None = None
    piece: int = 0
    pieces: int = 1
    generated: tuple[Column, ...] = ()

    @property
    def label(self) -> str:
        """The name as people read it."""
        return f"{self.schema}.{self.name}"

    @property
    def is_table(self) -> bool:
        """Whether its rows are a table's, and counted as such."""
        return self.kind != "large_objects"


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one relation.

    ``id`` is the SHA-256 of the plain text, in a sealed backup a keyed hash of that, ``bytes`` its length;
    ``stored`` and ``sha256`` are the size and the SHA-256 of the object as the store reported them.

    Several small relations may share a chunk.  Then ``whole`` is the length of its text, and these rows are
    the ``bytes`` from ``at`` on: a slice.
    """

    id: str
    key: str
    encoding: Literal["zstd", "zstd+aesgcm"]
    rows: int
    bytes: int
    stored: int
    sha256: str
    at: int = 0
    whole: int = 0

    def __post_init__(self) -> None:
        if (self.at or self.whole) and not 0 <= self.at <= self.at + self.bytes <= self.whole:
            raise ValueError(f"a slice lies outside of chunk {self.id}")

    @property
    def plain(self) -> int:
        """Bytes of the chunk's text, whoever they belong to."""
        return self.whole or self.bytes


def rows_of(chunk: Chunk, text: bytes) -> bytes:
    """A chunk's rows: its text, or the slice of it."""
    return text[chunk.at : chunk.at + chunk.bytes] if chunk.whole else text


@dataclass(frozen=True)
class End:
    """Closes a section.  ``generated`` is the digest of the stored generated columns, if there are any."""

    relation: int
    rows: int
    bytes: int
    digest: str
    generated: str = ""


Record = Role | DatabaseRecord | Described | LargeObjects | Relation | Chunk | End
_TYPES: dict[str, type[Any]] = {
    "role": Role,
    "database": DatabaseRecord,
    "object": Described,
    "large_objects": LargeObjects,
    "relation": Relation,
    "chunk": Chunk,
    "end": End,
}
_TAGS = {cls: tag for tag, cls in _TYPES.items()}
_DEFAULTS = {cls: [(field.name, field.default) for field in fields(cls)] for cls in _TAGS}


LEVEL = 3
"""Of zstd, for all parts."""

GATHERED = 1 << 16
"""Bytes of lines that are compressed in one go: each call lets go of Python's lock and waits for it again."""


class PartWriter:
    """Writes records into a file, compressed.

    Parameters
    ----------
    out:
        An open binary file; the caller closes it after `close`.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._stream = zstandard.ZstdCompressor(level=LEVEL).stream_writer(out, closefd=False)
        self._lines: list[bytes] = []
        self._waiting = 0
        self.bytes = 0
        self.relations = 0
        self.chunks = 0

    def write(self, record: Record) -> None:
        """Append one record."""
        line = encode_record(record)
        self.bytes += len(line)
        self.relations += isinstance(record, Relation)
        self.chunks += isinstance(record, Chunk)
        self._lines.append(line)
        self._waiting += len(line)
        if self._waiting >= GATHERED:
            self._compress()

    def close(self) -> None:
        """End the compressed frame."""
        self._compress()
        self._stream.close()  # type: ignore[no-untyped-call]  # zstandard's stub

    def _compress(self) -> None:
        self._stream.write(b"".join(self._lines))
        self._lines.clear()
        self._waiting = 0


def encode_record(record: Record) -> bytes:
    """One record as a line.  Fields at their default are left out; names that aren't UTF-8 get a twin."""
    line: dict[str, Any] = {"t": _TAGS[type(record)]}
    for name, default in _DEFAULTS[type(record)]:
        value = getattr(record, name)
        if value != default:
            line.update(_encode_value(name, value))
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _encode_value(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, tuple) and value and isinstance(value[0], Column):
        return {name: [_encode_column(column) for column in value]}
    if isinstance(value, str | tuple):
        return _encode_text(name, value)
    return {name: value}


def _encode_column(column: Column) -> dict[str, Any]:
    return {**_encode_text("name", column.name), **_encode_text("type", column.type)}


def _encode_text(name: str, value: str | tuple[Any, ...]) -> dict[str, Any]:
    """Text that came from bytes which aren't UTF-8 carries them as surrogates: store the bytes beside it."""
    if _is_utf8(value):
        return {name: value}
    shown = _each(value, lambda text: _raw(text).decode("utf-8", "replace"))
    return {name: shown, f"{name}_b64": _each(value, lambda text: base64.b64encode(_raw(text)).decode())}


def _is_utf8(value: str | tuple[Any, ...]) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_utf8, value))
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _each(value: Any, convert: Callable[[str], str]) -> Any:
    """``value`` with ``convert`` applied to each text in it; lists become tuples."""
    if isinstance(value, list | tuple):
        return tuple(_each(item, convert) for item in value)
    return convert(value)


def read_records(lines: Iterable[bytes], *, key: str) -> Iterator[Record]:
    """Decode the lines of a part.

    Raises
    ------
    ManifestInvalidError
        If a line isn't a record of format 1, naming the part's ``key`` and the line.
    """
    for number, line in enumerate(lines, 1):
        try:
            yield decode_record(line)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ManifestInvalidError(f"line {number} of part {key} is not a record") from error


def decode_record(line: bytes) -> Record:
    """The inverse of `encode_record`."""
    content = json.loads(line)
    cls = _TYPES[content.pop("t")]
    content = _decode_twins(content)
    if cls is Relation:
        for name in ("columns", "generated"):
            columns = (_decode_twins(column) for column in content.get(name, ()))
            content[name] = tuple(_column(column["name"], column["type"]) for column in columns)
    record: Record = cls(**{name: _as_tuple(value) for name, value in content.items()})
    return record


@lru_cache(1 << 14)
def _column(name: str, kind: str) -> Column:
    """Thousands of tables have the same few columns: they share them."""
    return Column(name, kind)


def _decode_twins(content: dict[str, Any]) -> dict[str, Any]:
    for twin in [name for name in content if name.endswith("_b64")]:
        content[twin.removesuffix("_b64")] = _each(content.pop(twin), _from_base64)
    return content


def _from_base64(text: str) -> str:
    return base64.b64decode(text, validate=True).decode("utf-8", "surrogateescape")


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list | tuple) else value
