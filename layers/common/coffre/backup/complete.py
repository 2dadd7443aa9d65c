"""Whether everything that was planned for the state machine was captured, and only that.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from coffre.backup.commit import Tally
from coffre.catalogue.ledger import BatchRecord
from coffre.errors import BackupIncompleteError
from coffre.vault.digest import add_digests

Planned = Mapping[str, set[tuple[int, int]]]
"""The sections (relation, piece) of each batch of the plan, by the batch's name."""


def check_batches(records: Mapping[str, BatchRecord], planned: Planned) -> list[BatchRecord]:
    """The records that count: of each batch of the plan, and of the rests that it left.

    Raises
    ------
    BackupIncompleteError
        If one is missing.
    """
    found: list[BatchRecord] = []
    for first in planned:
        name = first
        while name:
            record = records.get(name)
            if record is None:
                raise BackupIncompleteError(f"batch {name} was not captured")
            found.append(record)
            name = record.rest
    return found


@dataclass(frozen=True)
class Captured:
    """What the workers counted, added up."""

    planned: frozenset[tuple[int, int]]
    sections: int
    rows: int
    bytes: int
    digest: str
    new_chunks: int
    new_bytes: int
    size: int
    worker_seconds: float

    @classmethod
    def of(cls, records: Sequence[BatchRecord], planned: Planned) -> Captured:
        """The sums of the records that count."""
        return cls(
            frozenset(one for sections in planned.values() for one in sections),
            sections=sum(one.sections for one in records),
            rows=sum(one.rows for one in records),
            bytes=sum(one.bytes for one in records),
            digest=reduce(add_digests, (one.digest for one in records), "0"),
            new_chunks=sum(one.new_chunks for one in records),
            new_bytes=sum(one.new_bytes for one in records),
            size=sum(one.size for one in records),
            worker_seconds=sum(one.milliseconds for one in records) / 1000,
        )

    def check(self, tally: Tally) -> None:
        """The parts must hold every section of the plan, and exactly what the workers counted.

        Raises
        ------
        BackupIncompleteError
        """
        missing = self.planned - tally.sections.keys()
        if missing:
            raise BackupIncompleteError(f"the parts hold nothing of {len(missing)} relations or pieces")
        ends = tally.sections.values()
        digest = reduce(add_digests, (end.digest for end in ends), "0")
        held = (len(ends), sum(end.rows for end in ends), tally.plain, int(digest, 16))
        if held != (self.sections, self.rows, self.bytes, int(self.digest, 16)):
            raise BackupIncompleteError("the parts' rows aren't those that the workers counted")
