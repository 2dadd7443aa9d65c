"""What of a backup a proof restores: everything if it fits into its scratch space, else some tables."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.databases.postgresql.absent import AbsentRows
from coffre.databases.postgresql.room import DISK_FACTOR
from coffre.prove.sample import choose, only, units
from coffre.results import SAMPLED, Finding, Sample
from coffre.vault.contents import Contents
from coffre.vault.manifest import Manifest
from coffre.vault.ticket import Ticket

LEAST_FREE = 64 << 20
"""Bytes of scratch space; with less a proof has run into a full disk."""

SERVER_BYTES = 192 << 20
"""Bytes of scratch space that a server takes for itself: its catalogues, and 128 MiB of write-ahead log."""

EMPTY_TABLE = 48 << 10
"""Bytes on disk of a table without rows, with its lines in the catalogues: measured were 3 KB for a plain one
up to 46 KB for one with a sequence, two indexes and values that may be long."""

BYTES_A_SECOND = 8 << 20
"""Bytes of COPY text that a proof restores, indexes and compares in a second, at least: a tenth of what was
measured.  A sample is no larger than the time allows."""

MAX_NAMES = 1000

NOTHING_FITS = "nothing-fits"
"""Of a sample of no table, which proves nothing."""

_ADVICE = (
    "The rows of the other tables were read back and compared with their digests, not restored. "
    "Raise ProveScratch if it is below 10240, or restore to a server with more disk: `coffre drill`."
)


@dataclass(frozen=True)
class Fitting:
    """What is restored: ``absent`` and ``sample`` are None if it is everything."""

    contents: Contents
    absent: AbsentRows | None = None
    sample: Sample | None = None


def fitting(manifest: Manifest, contents: Contents, ticket: Ticket, *, free: int, seconds: float) -> Fitting:
    """What of the backup fits.

    Parameters
    ----------
    free:
        Bytes of scratch space.
    seconds:
        That the proof has.
    """
    totals, large = manifest.totals, manifest.file("large_objects")
    archive = large.size if large is not None else 0
    left = free - LEAST_FREE - SERVER_BYTES - len(contents.relations) * EMPTY_TABLE
    if (totals.bytes + archive) * DISK_FACTOR + archive <= left:
        return Fitting(contents)
    room = left / DISK_FACTOR
    chosen = choose(
        units(contents),
        critical=ticket.critical,
        checks=[check["sql"] for check in ticket.checks],
        room=max(0, int(min(room, seconds * BYTES_A_SECOND))),
        turn=manifest.id,
    )
    kept = only(contents, chosen)
    gone = (
        relation
        for number, relation in contents.relations.items()
        if relation.is_table and number not in kept.relations
    )
    sample = Sample(
        tables=len(kept.relations),
        of_tables=totals.relations,
        bytes=sum(end.bytes for end in kept.ends.values()),
        of_bytes=totals.bytes,
        large_objects=totals.large_objects,
        names=[unit.label for unit in chosen[:MAX_NAMES]],
    )
    return Fitting(kept, AbsentRows(gone, large_objects=totals.large_objects > 0), sample)


def sampled(sample: Sample, backup_id: str) -> Finding:
    """The reason that makes a sample inconclusive."""
    if not sample.tables:
        message = f"no table fits into the proof's disk: only the schema was restored, of {sample.of_tables}"
        return Finding(level="warn", code=NOTHING_FITS, object=backup_id, message=message, advice=_ADVICE)
    more = f"; {sample.large_objects} large objects were not restored" if sample.large_objects else ""
    return Finding(
        level="warn", code=SAMPLED, object=backup_id, message=f"{sample.summary}{more}", advice=_ADVICE
    )
