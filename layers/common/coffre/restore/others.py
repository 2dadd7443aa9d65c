"""What an ordinary role leaves as it finds it, because it belongs to others, and that this is told.

That is the schema ``public`` in some databases, and what the server or an extension brings: even the objects
of an extension that the role itself creates belong to the server's first superuser.  PostgreSQL only warns
whoever grants what isn't his, or refuses it, depending on what he may do with it.
Source: https://www.postgresql.org/docs/current/sql-grant.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.public_schema import SHUT, is_ours
from coffre.databases.postgresql.toc import TocEntry
from coffre.events.restore import RestoreRequest
from coffre.readable import first_of
from coffre.results import Finding
from coffre.vault.contents import Contents

NAMED = 20
"""Objects that a finding names at most."""

_OWNER = ("SCHEMA", "public")
_RIGHTS = "ACL"
_OF_IT = frozenset({_OWNER, (_RIGHTS, "SCHEMA public"), ("COMMENT", "SCHEMA public")})


def left_to_others(
    session: Session, toc: Sequence[TocEntry], contents: Contents, request: RestoreRequest, *, creates: bool
) -> list[TocEntry]:
    """The entries that an ordinary role leaves out.

    Those about ``public`` where it isn't the role's own.  Where it is, it isn't given to a superuser of the
    source's: up to PostgreSQL 14, and in databases that came from there, it belongs to the server's first
    one, whom nobody chose.

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
    about = [
        one
        for one in _about_public(toc)
        if not ours or ((one.description, one.tag) == _OWNER and one.owner in superusers)
    ]
    return [*about, *_brought(toc)]


def left_after_rows(session: Session, toc: Sequence[TocEntry]) -> list[TocEntry]:
    """Those of them that follow the rows."""
    about = [] if is_ours(session) else _about_public(toc)
    return [entry for entry in [*about, *_brought(toc)] if entry.description == _RIGHTS]


def _about_public(toc: Iterable[TocEntry]) -> list[TocEntry]:
    return [entry for entry in toc if (entry.description, entry.tag) in _OF_IT]


def _brought(toc: Sequence[TocEntry]) -> list[TocEntry]:
    """Rights on what isn't in the archive itself."""
    there = {entry.dump_id for entry in toc}
    return [
        entry
        for entry in toc
        if entry.description == _RIGHTS
        and there.isdisjoint(entry.needs)
        and (entry.description, entry.tag) not in _OF_IT
    ]


def tell_left(left: Sequence[TocEntry], request: RestoreRequest) -> list[Finding]:
    """That these things stay with what they have."""
    about = _about_public(left)
    owner = [one.owner for one in about if (one.description, one.tag) == _OWNER]
    findings = []
    if about:
        message = (
            f"the schema public will not belong to {owner[0]}: only a superuser gives it to one"
            if len(about) == len(owner)
            else "the schema public keeps its owner, rights and comment: it belongs to somebody else"
        )
        findings.append(_finding("public-left-out", "schema public", message))
    brought = [entry.tag for entry in left if entry not in about]
    if brought and request.roles == "keep":
        message = (
            f"what the server or an extension brings keeps its rights, because it belongs to a superuser: "
            f"{first_of(brought, NAMED)}"
        )
        findings.append(_finding("rights-left-out", brought[0], message))
    return findings


def _finding(code: str, what: str, message: str) -> Finding:
    advice = "Give them by its owner, or a superuser, where they are meant."
    return Finding(level="warn", code=code, object=what, message=message, advice=advice)
