"""Which objects of a backup belong to some of its tables: their closure, or what stands in its way.

What a table is made of comes along: its types, domains, collations, sequences, partitions, defaults,
constraints, indexes, statistics and comments.  What acts on others or for others stays out: triggers, rules,
policies, grants, publications, and foreign keys to tables that weren't asked for.  A table that needs a
function, an operator or another table is refused, because code names schemas in its text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from coffre.databases.postgresql.toc import TocEntry
from coffre.errors import TablesNotMovableError
from coffre.restore.table_names import find_tables

_MOVABLE = frozenset({"COLLATION", "DOMAIN", "SEQUENCE", "TABLE", "TYPE"})
_CONTEXT = frozenset({"EXTENSION", "SCHEMA", "ENCODING", "STDSTRINGS", "SEARCHPATH"})
_TIES_OF_PARTS = frozenset({"INDEX ATTACH", "SEQUENCE OWNED BY", "TABLE ATTACH"})
"""Parts that say how others belong together: nobody needs to be told of them."""

_PARTS = _TIES_OF_PARTS | {
    "CHECK CONSTRAINT",
    "COMMENT",
    "CONSTRAINT",
    "DEFAULT",
    "FK CONSTRAINT",
    "INDEX",
    "SEQUENCE",
    "STATISTICS",
}
_OF_ANYTHING = frozenset({"CHECK CONSTRAINT", "COMMENT", "INDEX ATTACH", "SEQUENCE OWNED BY"})
"""Parts of types, domains, sequences and indexes as well, not of tables alone."""

_EXCLUSION, _SCALARS = " EXCLUDE USING gist ", ("EXTENSION", "btree_gist")
"""An archive doesn't say of which operator classes a constraint's index is made.  Those that GiST lacks come
from this extension; others come with a column's type."""

_LEFT_OUT = frozenset(
    {
        "ACL",
        "POLICY",
        "PUBLICATION TABLE",
        "ROW SECURITY",
        "RULE",
        "SECURITY LABEL",
        "SUBSCRIPTION TABLE",
        "TRIGGER",
    }
)
_ONE_NAME = frozenset({"DOMAIN", "INDEX", "SEQUENCE", "TABLE", "TYPE"})
"""Of these no two can have one name in one schema."""


@dataclass(frozen=True)
class Selection:
    """Some tables and all that they are made of.

    Attributes
    ----------
    tables, sequences:
        Schema and name of the tables that were asked for, of their partitions, and of their sequences.
    entries:
        Dump ids of everything that comes along.
    extensions:
        Those that must be at the target.
    comes_along, left_out:
        What comes along, and what is tied to it and stays out, as phrases.
    """

    tables: frozenset[tuple[str, str]]
    sequences: frozenset[tuple[str, str]]
    entries: frozenset[int]
    extensions: tuple[str, ...]
    comes_along: tuple[str, ...]
    left_out: tuple[str, ...]


def select(toc: Sequence[TocEntry], wanted: Iterable[str]) -> Selection:
    """The closure of some tables.

    Parameters
    ----------
    wanted:
        ``schema.name`` each.

    Raises
    ------
    UnknownTablesError
        If the backup has no such table.
    TablesNotMovableError
        If a table needs what can't come along, or two objects of one name would meet; all of it is named.
    """
    entries = {entry.dump_id: entry for entry in toc}
    tables = _with_partitions(toc, find_tables(toc, wanted))
    needed, left_out = _closure(entries, tables)
    strangers = _strangers(entries, needed, tables)
    if strangers:
        raise TablesNotMovableError(f"the tables need what can't come along: {', '.join(strangers)}")
    chosen = [entries[number] for number in needed]
    _refuse_clashes(chosen)
    # More than tied to the schema that all of it lay in.
    mine = {entry.dump_id for entry in chosen if entry.description not in _CONTEXT}
    left_out += [
        _label(entry) for entry in toc if entry.description in _LEFT_OUT and mine.intersection(entry.needs)
    ]
    # Those that inherit from one of them, whose rows it shows as well, or that have its row type.
    left_out += [
        _label(entry)
        for entry in toc
        if entry.description == "TABLE" and entry.dump_id not in needed and tables.intersection(entry.needs)
    ]
    return Selection(
        frozenset((entries[number].schema, entries[number].tag) for number in tables),
        frozenset((entry.schema, entry.tag) for entry in chosen if entry.description == "SEQUENCE"),
        frozenset(needed),
        tuple(sorted(entry.tag for entry in chosen if entry.description == "EXTENSION")),
        tuple(
            sorted(_label(entry) for entry in chosen if entry.description not in _CONTEXT | _TIES_OF_PARTS)
        ),
        tuple(sorted(left_out)),
    )


def _with_partitions(toc: Sequence[TocEntry], tables: set[int]) -> set[int]:
    """The tables with the partitions of all levels below them; an attachment bears its partition's name."""
    known = {(entry.schema, entry.tag): entry.dump_id for entry in toc if entry.description == "TABLE"}
    attached = [
        (known[entry.schema, entry.tag], set(entry.needs))
        for entry in toc
        if entry.description == "TABLE ATTACH" and (entry.schema, entry.tag) in known
    ]
    found = set(tables)
    while more := {child for child, needs in attached if (needs - {child}) & found} - found:
        found |= more
    return found


def _closure(entries: Mapping[int, TocEntry], tables: set[int]) -> tuple[set[int], list[str]]:
    """All that the tables are made of, and the foreign keys that would need more."""
    needed, left_out = _needs(entries, tables), []
    for part in (entry for entry in entries.values() if entry.description in _PARTS):
        carriers = needed if part.description in _OF_ANYTHING else tables
        if not any(entries[n].description in _MOVABLE | _PARTS for n in carriers & set(part.needs)):
            continue
        more = _needs(entries, [part.dump_id, *_classes(entries, part)])
        if part.description != "FK CONSTRAINT" or not _strangers(entries, more, tables):
            needed |= more
        elif any(_is_of(part, entries[number]) for number in tables):
            left_out.append(_label(part))
    return needed, left_out


def _classes(entries: Mapping[int, TocEntry], part: TocEntry) -> list[int]:
    """What a constraint may need of extensions."""
    if _EXCLUSION not in part.statement:
        return []
    return [number for number, one in entries.items() if (one.description, one.tag) == _SCALARS]


def _is_of(constraint: TocEntry, table: TocEntry) -> bool:
    """Whether it is the table's own, not another's that points to it: its tag starts with its table's."""
    return constraint.schema == table.schema and constraint.tag.startswith(f"{table.tag} ")


def _needs(entries: Mapping[int, TocEntry], start: Iterable[int]) -> set[int]:
    """Everything that these depend on, themselves included."""
    found: set[int] = set()
    pending = list(start)
    while pending:
        number = pending.pop()
        if number not in found and number in entries:
            found.add(number)
            pending.extend(entries[number].needs)
    return found


def _strangers(entries: Mapping[int, TocEntry], needed: Iterable[int], chosen: set[int]) -> list[str]:
    """What is needed and can't come along."""
    allowed = _MOVABLE | _CONTEXT | _PARTS
    return sorted(
        {
            _label(entries[number])
            for number in needed
            if entries[number].description not in allowed
            or (entries[number].description == "TABLE" and number not in chosen)
        }
    )


def _refuse_clashes(chosen: Iterable[TocEntry]) -> None:
    """Objects of several schemas are to meet in one."""
    named: defaultdict[str, list[TocEntry]] = defaultdict(list)
    for entry in chosen:
        if entry.description in _ONE_NAME:
            named[entry.tag].append(entry)
    clashes = [" and ".join(sorted(map(_label, same))) for same in named.values() if len(same) > 1]
    if clashes:
        raise TablesNotMovableError(
            f"objects of one name would meet in one schema: {'; '.join(sorted(clashes))}",
            "Restore them one after the other, each into a schema of its own.",
        )


def _label(entry: TocEntry) -> str:
    """An object as people read it; comments and grants bear the kind of what they are about in their tag."""
    what, name = entry.description.lower(), entry.tag
    if entry.description in ("ACL", "COMMENT"):
        kind, _, name = entry.tag.partition(" ")
        what = f"{'grants' if entry.description == 'ACL' else 'comment'} on {kind.lower()}"
    return f"{what} {entry.schema}.{name}" if entry.schema else f"{what} {name}"
