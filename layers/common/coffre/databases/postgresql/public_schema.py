"""The schema ``public``, which a new database has already: whose it is, and what pg_dump takes for granted.

Up to PostgreSQL 14 it belongs to the server's first superuser, and everybody may create in it; from 15 on it
belongs to the database's owner, who alone may.  pg_dump 15 and later write what differs from the latter, also
of older databases: restored to an older server, one whose owner had shut it would be open to everybody again.
Source: ``getNamespaces`` in pg_dump.c, https://www.postgresql.org/docs/release/15.0/
"""

from __future__ import annotations

from coffre.databases.postgresql.connection import Session

SHUT = 15
"""From this version on it is shut, and the database owner's."""

_OURS = "SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public'"


def is_ours(session: Session) -> bool:
    """Whether the session's role may give and take what belongs to it in this database."""
    return bool(session.value(_OURS))


def shut_public(session: Session) -> None:
    """Let it have the rights that an archive of pg_dump counts from, before the archive's own are given."""
    if session.major < SHUT and is_ours(session):
        session.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
