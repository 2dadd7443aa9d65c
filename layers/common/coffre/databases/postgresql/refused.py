"""What becomes of rows that a server refused: tried again under a search path, or told."""

from __future__ import annotations

from collections.abc import Iterable

from coffre.databases.postgresql.load import relation_of
from coffre.databases.postgresql.load_path import load_path, loaded_by_path
from coffre.errors import CoffreError, revive
from coffre.results import Finding
from coffre.workers import Message

Refused = tuple[Message, Message]
"""An item, and what the server said of its rows."""


def under_paths(refused: Iterable[Refused], own: str) -> tuple[list[Message], list[Finding]]:
    """The items to be loaded under a search path, and the exceptions if they can be, one for each table.

    Parameters
    ----------
    own:
        The path that is set for the database; see `load_path`.
    """
    items: list[Message] = []
    named: dict[str, Finding] = {}
    for item, fault in refused:
        relation = relation_of(item)
        path = load_path(relation.schema, own)
        items.append({**item, "path": path})
        named[relation.label] = loaded_by_path(relation.label, path, fault["message"])
    return items, list(named.values())


def load_failed(item: Message, fault: Message) -> CoffreError:
    """The server's error, with the table's name."""
    message = f"the rows of {relation_of(item).label} can't be loaded: {fault['message']}"
    return revive({**fault, "message": message})
