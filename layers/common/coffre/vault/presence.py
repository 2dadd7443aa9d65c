"""Whether everything that a backup needs is in a bucket, by what the store says of it.

Files, parts and references are few and are looked at one by one, with their stored checksums.  Chunks may be
hundreds of thousands, so they are compared with listings, slice by slice of their ids: a request for each
thousand keys, and in memory no more than a 256th of the backup's chunks.  A listing holds sizes; where stored
checksums are asked for as well, that is a request for each chunk.  What isn't there as it was recorded is
read as a restore reads it: behind delete markers, and by its content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from coffre.errors import ObjectCorruptError, ObjectMissingError
from coffre.vault.contents import read_sections
from coffre.vault.layout import Layout
from coffre.vault.locate import locate, locate_chunk
from coffre.vault.manifest import Manifest, RefsFile, StoredFile
from coffre.vault.parts import Chunk, decode_record, encode_record
from coffre.vault.store import ObjectStore

MAX_GAPS = 1_000
"""Gaps that are named at most: each costs requests, and a copy that has just begun lacks everything."""

THREADS = 16
"""Requests for stored checksums at a time: another region answers late, not slowly."""


@dataclass(frozen=True)
class Gap:
    """An object that isn't there, or isn't what was recorded.

    Attributes
    ----------
    message:
        What is wrong, in words.
    """

    key: str
    message: str


@dataclass(frozen=True)
class Presence:
    """What a look at a bucket found.

    Attributes
    ----------
    objects, bytes:
        How much was looked for.
    gaps:
        What is lacking, as much as was asked for.
    more:
        Whether more is lacking than ``gaps`` names.
    """

    objects: int
    bytes: int
    gaps: tuple[Gap, ...]
    more: bool


@dataclass(frozen=True)
class Look:
    """A look at a bucket.

    Attributes
    ----------
    spool:
        The sections that `coffre.vault.contents.read_contents` wrote.
    scratch:
        A folder for what chunks are called; it is made.
    checksums:
        Whether the stored checksum of each chunk is compared, too.
    most:
        Gaps that are looked into.
    check:
        Called before each file and each slice; raises to stop, for instance at a deadline.
    """

    store: ObjectStore
    spool: Path
    scratch: Path
    checksums: bool = False
    most: int = MAX_GAPS
    check: Callable[[], None] = lambda: None

    def at(self, manifest: Manifest) -> Presence:
        """Look for all files and chunks of a backup; its manifest is the caller's.

        Raises
        ------
        StoreUnavailableError
        """
        files: list[StoredFile | RefsFile] = [*manifest.files, *manifest.parts, *manifest.refs]
        _cut(self.spool, self.scratch)
        gaps = list(islice(self._gaps(Layout(manifest.database), files), self.most + 1))
        count, size = len(files), sum(file.size for file in files)
        for path in self.scratch.iterdir():
            chunks = _chunks(path)
            count, size = count + len(chunks), size + sum(chunk.stored for chunk in chunks.values())
        return Presence(count, size, tuple(gaps[: self.most]), len(gaps) > self.most)

    def _gaps(self, layout: Layout, files: list[StoredFile | RefsFile]) -> Iterator[Gap]:
        for file in files:
            self.check()
            if not self._is_as_recorded(file.key, file.size, file.sha256):
                find = partial(locate, self.store, file.key, size=file.size, sha256=file.sha256)
                yield from _gap(file.key, find)
        for path in sorted(self.scratch.iterdir()):
            self.check()
            yield from self._slice(layout, path)

    def _slice(self, layout: Layout, path: Path) -> Iterator[Gap]:
        """The gaps among the chunks whose ids begin with one byte."""
        needed = _chunks(path)
        right = {
            item.key
            for item in self.store.objects(f"{layout.chunks}{path.name}/")
            if item.key in needed and item.size == needed[item.key].stored
        }
        if self.checksums:
            right = self._as_recorded([needed[key] for key in right])
        for key in sorted(needed.keys() - right):
            yield from _gap(key, partial(locate_chunk, self.store, needed[key]))

    def _as_recorded(self, chunks: list[Chunk]) -> set[str]:
        """The keys of those whose stored checksum is the recorded one."""
        with ThreadPoolExecutor(THREADS) as pool:
            answers = pool.map(lambda one: self._is_as_recorded(one.key, one.stored, one.sha256), chunks)
            return {chunk.key for chunk, right in zip(chunks, answers, strict=True) if right}

    def _is_as_recorded(self, key: str, size: int, sha256: str) -> bool:
        seen = self.store.head(key)
        return seen is not None and (seen.size, seen.sha256) == (size, sha256)


def _chunks(path: Path) -> dict[str, Chunk]:
    """The chunks of one slice by key; a backup may name one several times."""
    with path.open("rb") as lines:
        records = (decode_record(line) for line in lines)
        return {record.key: record for record in records if isinstance(record, Chunk)}


def _gap(key: str, find: Callable[[], tuple[str | None, BinaryIO]]) -> Iterator[Gap]:
    """The gap, unless a reader finds what was recorded all the same."""
    try:
        find()[1].close()
    except ObjectMissingError:
        yield Gap(key, f"{key} is missing")
    except ObjectCorruptError as error:
        yield Gap(key, error.message)


def _cut(spool: Path, scratch: Path) -> None:
    """Spread the chunks' records over files named after their ids' first byte."""
    scratch.mkdir()
    with ExitStack() as stack:
        slices: dict[str, BinaryIO] = {}
        for section in read_sections(spool):
            for chunk in section.chunks:
                first = chunk.id[:2]
                if first not in slices:
                    slices[first] = stack.enter_context((scratch / first).open("wb"))
                slices[first].write(encode_record(chunk))
