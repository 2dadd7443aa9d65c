"""The order in which what follows the rows is built, so that much of it can be built side by side.  Pure.

pg_restore's own jobs live in one process; here each of several functions builds some of the entries.  What
an entry needs is known from the archive: nothing runs beside or before what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coffre.databases.postgresql.archive import ArchiveEntry
from coffre.restore.pieces import cut

CONSTRAINTS, INDEXES, OTHERS, FOREIGN_KEYS, LAST, REFRESHES = range(6)
WAVES = 6

SIDE_BY_SIDE = frozenset({CONSTRAINTS, INDEXES, FOREIGN_KEYS})
"""Waves whose entries don't need each other."""

_WAVE_OF = {
    "CONSTRAINT": CONSTRAINTS,
    "INDEX": INDEXES,
    "FK CONSTRAINT": FOREIGN_KEYS,
    "ACL": LAST,
    "DEFAULT ACL": LAST,
    "MATERIALIZED VIEW DATA": REFRESHES,
}
_ACLS = ("ACL", "DEFAULT ACL")


@dataclass(frozen=True)
class Wave:
    """Entries that are built after those of the waves before; in order, or side by side."""

    number: int
    entries: tuple[ArchiveEntry, ...]

    @property
    def side_by_side(self) -> bool:
        """Whether several workers may share it."""
        return self.number in SIDE_BY_SIDE

    def ranges(self) -> list[tuple[int, int]]:
        """The entries of each item, by their position."""
        return cut(len(self.entries)) if self.side_by_side else cut(len(self.entries), 1)


def plan_waves(late: Sequence[ArchiveEntry], needs: Mapping[int, Sequence[int]]) -> list[Wave]:
    """All entries in waves; empty ones are left out.

    Primary keys first, because foreign keys need them and they shut everybody else out of their table; then
    indexes; triggers, rules and the like; foreign keys; grants, because a table's owner may lack rights until
    then; and what is computed from all that.

    Parameters
    ----------
    late:
        What follows the rows, in the archive's order, in which everything comes after what it needs.
    needs:
        Dump ids of what an entry needs, by its own.
    """
    wave: dict[int, int] = {}
    for entry in late:
        own = _WAVE_OF.get(entry.description, OTHERS)
        needed = max((wave[one] for one in needs.get(entry.dump_id, ()) if one in wave), default=-1)
        own = max(own, needed)
        if own == needed and own in SIDE_BY_SIDE:
            own += 1
        # What only comes after indexes isn't built beside any: the next ordered wave takes it.
        while own in SIDE_BY_SIDE and _WAVE_OF.get(entry.description) != own:
            own += 1
        wave[entry.dump_id] = own
    # Grants come after all else of their wave, as they do with pg_restore.
    ordered = sorted(late, key=lambda entry: entry.description in _ACLS)
    return [
        Wave(number, entries)
        for number in range(WAVES)
        if (entries := tuple(entry for entry in ordered if wave[entry.dump_id] == number))
    ]
