"""What an archive of pg_dump holds, read from the listing of pg_restore."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from coffre.errors import ToolFailedError


@dataclass(frozen=True)
class ArchiveEntry:
    """One line of ``pg_restore --list``.

    ``name`` is what follows the description (schema, name and owner): for people, not to be parsed, as each
    of them may hold spaces.
    """

    dump_id: int
    description: str
    name: str


def archive_entries(listing: str) -> list[ArchiveEntry]:
    """Read what ``pg_restore --list`` printed.

    Raises
    ------
    ToolFailedError
        For a line that isn't understood: it might be data.
    """
    return [_entry(line) for line in listing.split("\n") if line and not line.startswith(";")]


def data_entries(entries: Iterable[ArchiveEntry]) -> list[ArchiveEntry]:
    """Those entries that hold content of the database: rows, sequence values, large objects, statistics.

    A ``MATERIALIZED VIEW DATA`` entry is none of them: it is a REFRESH.
    """
    return [entry for entry in entries if entry.description in _DATA]


def read_scripts(written: str, wanted: Iterable[int]) -> dict[int, str]:
    """The statements of each entry, from what ``pg_restore --verbose --file=-`` wrote.

    Parameters
    ----------
    wanted:
        The entries' numbers.  Nothing else begins an entry: a comment's text may look like its head.
    """
    asked, found = set(wanted), dict[int, str]()
    heads = [head for head in _HEAD.finditer(written) if int(head[1]) in asked]
    ends = [head.start() for head in heads[1:]] + [written.rfind(_FOOT)]
    for head, end in zip(heads, ends, strict=False):
        found.setdefault(int(head[1]), written[head.end() : end].strip())
    return found


_HEAD = re.compile(
    r"^--\n-- TOC entry (\d+) \(class \d+ OID \d+\)\n(?:-- Dependencies: [\d ]+\n)?-- Name: .*\n"
    r"(?:-- Data Pos: .*\n)?--\n\n",
    re.MULTILINE,
)
_FOOT = "\n-- Completed on "
_LINE = re.compile(r"(\d+); (\d+) \d+ (.*)")
_DATA = frozenset(
    [
        "TABLE DATA",
        "SEQUENCE SET",
        "STATISTICS DATA",
        "BLOB",
        "BLOBS",
        "BLOB METADATA",
        "BLOB COMMENTS",
    ]
)
# With those, all that pg_dump 16 and 18 write (the descriptions in pg_dump.c).
_SCHEMA = frozenset(
    [
        "ACCESS METHOD",
        "ACL",
        "AGGREGATE",
        "CAST",
        "CHECK CONSTRAINT",
        "COLLATION",
        "COMMENT",
        "CONSTRAINT",
        "CONVERSION",
        "DATABASE",
        "DATABASE PROPERTIES",
        "DEFAULT",
        "DEFAULT ACL",
        "DOMAIN",
        "ENCODING",
        "EVENT TRIGGER",
        "EXTENSION",
        "FK CONSTRAINT",
        "FOREIGN DATA WRAPPER",
        "FOREIGN TABLE",
        "FUNCTION",
        "INDEX",
        "INDEX ATTACH",
        "MATERIALIZED VIEW",
        "MATERIALIZED VIEW DATA",
        "OPERATOR",
        "OPERATOR CLASS",
        "OPERATOR FAMILY",
        "POLICY",
        "PROCEDURAL LANGUAGE",
        "PROCEDURE",
        "PUBLICATION",
        "PUBLICATION TABLE",
        "PUBLICATION TABLES IN SCHEMA",
        "ROW SECURITY",
        "RULE",
        "SCHEMA",
        "SEARCHPATH",
        "SECURITY LABEL",
        "SEQUENCE",
        "SEQUENCE OWNED BY",
        "SERVER",
        "SHELL TYPE",
        "STATISTICS",
        "STDSTRINGS",
        "SUBSCRIPTION",
        "SUBSCRIPTION TABLE",
        "TABLE",
        "TABLE ATTACH",
        "TEXT SEARCH CONFIGURATION",
        "TEXT SEARCH DICTIONARY",
        "TEXT SEARCH PARSER",
        "TEXT SEARCH TEMPLATE",
        "TRANSFORM",
        "TRIGGER",
        "TYPE",
        "USER MAPPING",
        "VIEW",
    ]
)
_MOST_WORDS = max(len(description.split()) for description in _DATA | _SCHEMA)
# An object's own entry names its catalogue; the entry of its content names none.  That tells the rows of a
# table ("TABLE DATA public t") from a table in a schema called DATA ("TABLE DATA t").
_WITHOUT_CATALOGUE = frozenset(["TABLE DATA", "SEQUENCE SET", "STATISTICS DATA", "MATERIALIZED VIEW DATA"])


def _entry(line: str) -> ArchiveEntry:
    found = _LINE.fullmatch(line)
    if found:
        dump_id, catalogue, rest = found.groups()
        words = rest.split(" ")
        for count in range(_MOST_WORDS, 0, -1):
            description = " ".join(words[:count])
            if description in _WITHOUT_CATALOGUE and catalogue != "0":
                continue
            if description in _DATA | _SCHEMA:
                return ArchiveEntry(int(dump_id), description, " ".join(words[count:]))
    raise ToolFailedError(f"pg_restore listed something unknown: {line!r}", "Please report this.")
