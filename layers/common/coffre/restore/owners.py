"""Roles that are there under the names of the source's, and may do less there, or more, than those.

Less: an event trigger belongs to a superuser or to nobody, and is made last of all.  More: functions with the
rights of their owner (SECURITY DEFINER), and whatever runs as an object's owner, then have what the target's
role has, although the source's hadn't.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.encodings import recoded
from coffre.databases.postgresql.roles import reserved_rights
from coffre.databases.postgresql.toc import TocEntry
from coffre.results import Finding
from coffre.vault.parts import Role

_SUPERUSERS_OWN = frozenset({"EVENT TRIGGER", "FOREIGN DATA WRAPPER"})
_RIGHTS = """
SELECT rolname::text, rolbypassrls, rolcreaterole, rolreplication, rolsuper FROM pg_roles
"""
_NAMES = ("BYPASSRLS", "CREATEROLE", "REPLICATION", "SUPERUSER")


def too_weak(session: Session, toc: Iterable[TocEntry], encoding: str) -> list[str]:
    """What the target's roles lack to own what a superuser restores for them, as phrases.

    Parameters
    ----------
    toc:
        What of the archive is restored.
    encoding:
        The backup's.
    """
    there = _there(session, encoding)
    return [
        f"SUPERUSER for the role {entry.owner}, to own {entry.description.lower()} {entry.tag}"
        for entry in toc
        if entry.description in _SUPERUSERS_OWN and "SUPERUSER" not in there.get(entry.owner, _NAMES)
    ]


def stronger(session: Session, used: Sequence[Role], encoding: str) -> list[Finding]:
    """A warning for each role of the target that has rights which its namesake at the source hasn't.

    Parameters
    ----------
    used:
        The source's roles that the restore names, those for which others were named excepted.
    encoding:
        The backup's.
    """
    there = _there(session, encoding)
    findings = []
    for role in used:
        more = [right for right in there.get(role.name, ()) if right not in reserved_rights(role)]
        if more and "SUPERUSER" not in role.attributes:
            message = f"the role {role.name} has {', '.join(more)} here, and hadn't at the source"
            advice = "What runs with its rights may do more here; --map-role gives its objects to another."
            findings.append(
                Finding(level="warn", code="role-stronger", object=role.name, message=message, advice=advice)
            )
    return findings


def _there(session: Session, encoding: str) -> dict[str, tuple[str, ...]]:
    """The rights beyond a database of each role of the server."""
    return {
        recoded(name, session.encoding, encoding): tuple(
            right for right, held in zip(_NAMES, rights, strict=True) if held
        )
        for name, *rights in session.run(_RIGHTS)
    }
