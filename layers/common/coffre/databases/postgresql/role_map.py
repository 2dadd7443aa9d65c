"""Which roles an archive of pg_dump names, and giving what it holds to others before pg_restore sees it.

pg_restore can leave owners and grants out, but not change them.  So the archive's table of contents is
written anew: each entry's owner, and the roles in the statements of grants, policies and user mappings.
The form of an archive is explained in `coffre.databases.postgresql.toc`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from coffre.databases.postgresql.rewriting import TOKEN, Edit, rewrite
from coffre.databases.postgresql.toc import NAMING, TocEntry

OWNERLESS = frozenset({"ACL", "COMMENT", "DEFAULT ACL", "SECURITY LABEL"})
"""Entries whose owner is that of what they are about: they are given to nobody."""

_DATABASE = "DATABASE"
"""The first word of a database's own entries, or of what they are about: pg_restore leaves those out.
Source: ``_tocEntryRequired`` in pg_backup_archiver.c"""


def map_roles(archive: Path, out: Path, mapping: Mapping[str, str], codec: str) -> None:
    """Write ``archive`` to ``out`` with other roles.

    Parameters
    ----------
    mapping:
        The new role by the old one; others stay.
    codec:
        Of the archive's text, which is in its database's encoding.

    Raises
    ------
    ToolFailedError
        If it isn't an archive in the custom format that this knows.
    """
    # Byte for byte: all encodings of databases have ASCII's characters.
    bytewise = {_bytewise(old, codec): _bytewise(new, codec) for old, new in mapping.items()}
    rewrite(archive, out, _Roles(bytewise))


class _Roles(Edit):
    """Other owners, and other roles in statements."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self._mapping = mapping

    def owner(self, name: str) -> str:
        """The new owner of an entry."""
        return self._mapping.get(name, name)

    def statement(self, description: str, text: str) -> str:
        """The statement with other roles, if it names any."""
        if description not in NAMING:
            return text
        return map_statement(text, self._mapping, user_mapping=description == "USER MAPPING")


def named_roles(toc: Iterable[TocEntry]) -> set[str]:
    """The roles that a restore of these entries names: owners, and those in statements about rights."""
    found = set()
    for entry in toc:
        about = entry.tag if entry.description in OWNERLESS else entry.description
        if about.partition(" ")[0] == _DATABASE:
            continue
        if entry.description not in OWNERLESS and entry.owner:
            found.add(entry.owner)
        if entry.description in NAMING:
            tokens = _tokens(entry.statement, user_mapping=entry.description == "USER MAPPING")
            found.update(role for _, role in tokens if role is not None)
    return found


def map_statement(statement: str, mapping: Mapping[str, str], *, user_mapping: bool = False) -> str:
    """A statement of pg_dump's about rights, with other roles.

    Parameters
    ----------
    user_mapping:
        Whether the name behind ``FOR`` is a role.
    """
    return "".join(
        _identifier(mapping[role]) if role is not None and role in mapping else text
        for text, role in _tokens(statement, user_mapping=user_mapping)
    )


def _tokens(statement: str, *, user_mapping: bool) -> Iterator[tuple[str, str | None]]:
    """The pieces of a statement, each with the role that it names, if it names one.

    pg_dump writes keywords in capitals and quotes a name unless it is all small: none is taken for the other.
    """
    introduces = {"TO", "FROM", "ROLE", "AUTHORIZATION"} | ({"FOR"} if user_mapping else set())
    depth, state = 0, ""
    for match in TOKEN.finditer(statement):
        text, role = match[0], None
        if text in "()":
            depth += 1 if text == "(" else -1
        if not depth and not text.isspace():
            if state == "role":
                role, state = _name(match), "listed"
            elif match["word"] in introduces or (state == "listed" and text == ","):
                state = "role"
            else:
                state = ""
        yield text, role


def _name(match: re.Match[str]) -> str | None:
    if match["quoted"]:
        return match["quoted"][1:-1].replace('""', '"')
    word = match["word"]
    return word if word and word == word.lower() else None


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _bytewise(name: str, codec: str) -> str:
    return name.encode(codec).decode("latin-1")
