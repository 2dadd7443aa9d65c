"""What of the schema ``public`` an ordinary role leaves as it finds it, and that this is told.

PostgreSQL only warns whoever grants what isn't his, and pg_restore goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.public_schema import SHUT, is_ours
from coffre.databases.postgresql.toc import TocEntry
from coffre.events.restore import RestoreRequest
from coffre.results import Finding
from coffre.vault.contents import Contents

_OWNER = ("SCHEMA", "public")
_OF_IT = frozenset({_OWNER, ("ACL", "SCHEMA public"), ("COMMENT", "SCHEMA public")})


def kept_public(
    session: Session, toc: Iterable[TocEntry], contents: Contents, request: RestoreRequest, *, creates: bool
) -> list[TocEntry]:
    """The entries about the schema that an ordinary role leaves out: all where it isn't the role's own.

    Where it is, it isn't given to a superuser of the source's: up to PostgreSQL 14, and in databases that
    came from there, it belongs to the server's first one, whom nobody chose.

    Parameters
    ----------
    creates:
        Whether the database isn't there yet.
    """
    ours = session.major >= SHUT if creates else is_ours(session)
    superusers = {
        role.name
        for role in contents.roles
        if "SUPERUSER" in role.attributes and role.name not in request.role_map
    }
    about = about_public(toc)
    if not ours:
        return about
    return [one for one in about if (one.description, one.tag) == _OWNER and one.owner in superusers]


def about_public(toc: Iterable[TocEntry]) -> list[TocEntry]:
    """The entries about the schema itself."""
    return [entry for entry in toc if (entry.description, entry.tag) in _OF_IT]


def tell_kept_public(kept: Sequence[TocEntry]) -> list[Finding]:
    """That the schema stays with what it has."""
    if not kept:
        return []
    owner = [one.owner for one in kept if (one.description, one.tag) == _OWNER]
    message = (
        f"the schema public will not belong to {owner[0]}: only a superuser gives it to one"
        if len(kept) == len(owner)
        else "the schema public keeps its owner, rights and comment: it belongs to somebody else"
    )
    advice = "Give them by its owner, or a superuser, where they are meant."
    return [
        Finding(level="warn", code="public-left-out", object="schema public", message=message, advice=advice)
    ]
