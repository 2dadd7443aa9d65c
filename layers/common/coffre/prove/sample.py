"""Which tables a proof restores the rows of where not all of them fit: a pure function of the backup.

The rule, in this order; a table that doesn't fit into the room that is left is passed over:

1. the owner's critical tables, in the order of the registration;
2. tables that the owner's checks name, the smallest first;
3. the table whose turn it is: all others stand in an order that is drawn anew for each backup, from its id,
   so that sooner or later every table that fits at all is the first one;
4. small ones, the smallest first, into half of the room that is left: what others refer to is mostly small;
5. the rest, by their turn.

The partitions of a table are tables of their own, but for those that can only be loaded through their root.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from coffre.vault.contents import Contents
from coffre.vault.parts import Relation

_WORD = re.compile(r"\w+")
_NAME = re.compile(r'"(?:[^"]|"")*"|[^".]+')
_NO_SCHEMA = "public"


@dataclass(frozen=True)
class Unit:
    """A table, or all partitions that are loaded through one root.

    Attributes
    ----------
    names:
        Schema and name, of its root as well.
    relations:
        The numbers of the relations that it consists of.
    bytes:
        Of COPY text.
    """

    label: str
    names: frozenset[tuple[str, str]]
    relations: tuple[int, ...]
    bytes: int


def units(contents: Contents) -> list[Unit]:
    """What can be restored or left out, each as a whole; a sample never has large objects."""
    found: dict[tuple[str, str], Unit] = {}
    for number, relation in contents.relations.items():
        if not relation.is_table:
            continue
        names = _names(relation)
        key = (str(relation.root_schema), str(relation.root_name)) if relation.load == "root" else names[0]
        known = found.get(key, Unit(".".join(key), frozenset(), (), 0))
        found[key] = replace(
            known,
            names=known.names.union(names),
            relations=(*known.relations, number),
            bytes=known.bytes + contents.ends[number].bytes,
        )
    return list(found.values())


def _names(relation: Relation) -> list[tuple[str, str]]:
    own = (relation.schema, relation.name)
    if relation.root_schema is None or relation.root_name is None:
        return [own]
    return [own, (relation.root_schema, relation.root_name)]


def choose(
    among: Sequence[Unit], *, critical: Sequence[str], checks: Iterable[str], room: int, turn: str
) -> list[Unit]:
    """The tables whose rows are restored, in the order of the rule.

    Parameters
    ----------
    critical:
        Names as in SQL; without a schema ``public`` is meant.
    checks:
        The SQL of the owner's checks.
    room:
        Bytes of COPY text that fit.
    turn:
        The backup's id.
    """
    by_turn = sorted(among, key=lambda unit: _draw(turn, unit.label))
    by_size = sorted(by_turn, key=lambda unit: unit.bytes)
    wanted = [_parsed(name) for name in critical]
    said = {word.lower() for sql in checks for word in _WORD.findall(sql)}
    chosen = _Chosen(room)
    chosen.take(unit for name in wanted for unit in by_turn if name in unit.names)
    chosen.take(unit for unit in by_size if any(name.lower() in said for _, name in unit.names))
    chosen.take(by_turn, most=1)
    chosen.take(by_size, room=chosen.room // 2)
    chosen.take(by_turn)
    return list(chosen.units.values())


class _Chosen:
    """What was taken so far, and the room that is left."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.units: dict[tuple[int, ...], Unit] = {}

    def take(self, units: Iterable[Unit], *, room: int | None = None, most: int | None = None) -> None:
        """Take those that fit, in their order, into ``room`` at most."""
        left = self.room if room is None else room
        taken = 0
        for unit in units:
            if taken == most:
                return
            if unit.relations in self.units or unit.bytes > left:
                continue
            self.units[unit.relations] = unit
            self.room, left, taken = self.room - unit.bytes, left - unit.bytes, taken + 1


def only(contents: Contents, chosen: Iterable[Unit]) -> Contents:
    """The contents with the rows of these tables alone, and without large objects."""
    numbers = {number for unit in chosen for number in unit.relations}
    return replace(
        contents,
        relations={n: relation for n, relation in contents.relations.items() if n in numbers},
        ends={n: end for n, end in contents.ends.items() if n in numbers},
        described=[item for item in contents.described if item.kind != "large object"],
        large_objects=[],
    )


def _draw(turn: str, label: str) -> bytes:
    return hashlib.sha256(f"{turn}\0{label}".encode("utf-8", "surrogateescape")).digest()


def _parsed(name: str) -> tuple[str, str]:
    """A name as SQL reads it."""
    parts = [
        part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()
        for part in _NAME.findall(name)
    ]
    return (parts[-2], parts[-1]) if len(parts) > 1 else (_NO_SCHEMA, parts[0] if parts else "")
