"""Finding the tables of a backup that somebody named, or saying what is there instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from coffre.databases.postgresql.toc import TocEntry
from coffre.errors import UnknownTablesError

_NAME = re.compile(r'(?:("(?:[^"]|"")+"|[^".]+)\.)?("(?:[^"]|"")+"|[^".]+)')
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
NEAR = 5
_OTHERS = frozenset({"FOREIGN TABLE", "MATERIALIZED VIEW", "SEQUENCE", "VIEW"})


def parse_table(text: str) -> tuple[str, str]:
    """Schema and name of ``schema.name``, exactly as they are written; either may be in double quotes.

    The schema of a name without one is empty, which no schema's name is.

    Raises
    ------
    UnknownTablesError
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise UnknownTablesError(f"{text!r} isn't SCHEMA.TABLE")
    schema, name = (
        part[1:-1].replace('""', '"') if part.startswith('"') else part for part in match.groups("")
    )
    return schema, name


def find_tables(toc: Sequence[TocEntry], wanted: Iterable[str]) -> set[int]:
    """The dump ids of the tables.

    Parameters
    ----------
    wanted:
        ``schema.name`` each.

    Raises
    ------
    UnknownTablesError
        Naming all that aren't tables of the backup, with what they are, or which names are near.
    """
    known = {(entry.schema, entry.tag): entry.dump_id for entry in toc if entry.description == "TABLE"}
    others = {(entry.schema, entry.tag): entry.description for entry in toc if entry.description in _OTHERS}
    names = [parse_table(text) for text in wanted]
    missing = [name for name in names if name not in known]
    if missing:
        told = "; ".join(_written(name) + _instead(name, known, others) for name in missing)
        raise UnknownTablesError(f"the backup holds no table {told}")
    return {known[name] for name in names}


def _instead(
    name: tuple[str, str], known: Iterable[tuple[str, str]], others: dict[tuple[str, str], str]
) -> str:
    if name in others:
        return f" (it is a {others[name].lower()})"
    known = sorted(known)
    alike = get_close_matches(name[1], {table for _, table in known}, n=3)
    near = [_written(one) for table in alike for one in known if one[1] == table]
    return f" (near it: {', '.join(near[:NEAR])})" if near else ""


def _written(name: tuple[str, str]) -> str:
    """A name as `parse_table` reads it, quoted where SQL needs that."""
    return ".".join(part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in name)
