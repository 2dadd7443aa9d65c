"""Rows that load only where functions find others by name: those of generated columns and of partition keys.

Programs of PostgreSQL's load under an empty search path, and so does this, first: then no function takes
another's place.  One that finds its helpers by the search path alone can't be computed so.  CHECK constraints
are set aside for that, a generated column can't be.  So what was refused is tried once more under a path that
the source's sessions may have had, which is an exception and told.
Source: https://wiki.postgresql.org/wiki/A_Guide_to_CVE-2018-1058:_Protect_Your_Search_Path
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from coffre.databases.postgresql.connection import Session, identifier, literal
from coffre.errors import CoffreError
from coffre.vault.parts import DatabaseRecord

if TYPE_CHECKING:
    from coffre.results import Finding

ADVICE = (
    "Give the function a path at the source, ALTER FUNCTION ... SET search_path = ..., and back up again."
)
SEARCH_PATH = "search_path"
"""The fact under which a restore on the state machine notes the path that is set for the database."""

_USER = "$user"


def load_path(schema: str, own: str) -> str:
    """The search path to try: the table's schema, the database's own path, and ``public``.

    Parameters
    ----------
    own:
        The path that is set for the database, as the catalog has it; empty: none is.
    """
    from coffre.databases.postgresql.roles import elements_of  # a worker that loads needs no models

    names = [schema, *(name for name in elements_of(own) if name != _USER), "public"]
    return ", ".join(map(identifier, dict.fromkeys(names)))


def path_of(database: DatabaseRecord | None) -> str:
    """The path that is set for the database; empty if none is."""
    settings = database.settings if database is not None else ()
    start = "search_path="
    return next((one[len(start) :] for role, one in settings if not role and one.startswith(start)), "")


@contextmanager
def under(session: Session, path: str) -> Iterator[None]:
    """Let the session have a search path for as long as the block lasts; empty: none, as always."""
    if not path:
        yield
        return
    session.run(_set(path))
    try:
        yield
    finally:
        with suppress(CoffreError):  # a session that is lost has none
            session.run(_set(""))


def loaded_by_path(label: str, path: str, said: str) -> Finding:
    """The exception: that a table's rows could only be loaded so."""
    from coffre.results import Finding

    return Finding(
        level="refuse",
        code="exception-search-path",
        object=label,
        message=f"the rows of {label} load only with the search path {path}: {said}",
        advice=ADVICE,
    )


def _set(path: str) -> str:
    return f"SELECT pg_catalog.set_config('search_path', {literal(path)}, false)"
