"""The names under which restores build, and what an interrupted one left under them."""

from __future__ import annotations

import re

from coffre.databases.postgresql.connection import Session
from coffre.ids import new_attempt
from coffre.results import Finding

_SCHEMA = re.compile(r"coffre_restoring_[0-9a-f]{12}")

_DATABASES = """
SELECT d.datname::text, EXISTS (SELECT FROM pg_subscription s WHERE s.subdbid = d.oid)
FROM pg_database d ORDER BY 1
"""

DROP = "Drop it when no restore runs."
DROP_SUBSCRIPTIONS = (
    f"{DROP} Its subscriptions go first, each by ALTER SUBSCRIPTION ... SET (slot_name = NONE) and DROP "
    "SUBSCRIPTION: without the former, the latter may drop the source's replication slot."
)


def working_name(name: str, attempt: str = "") -> str:
    """A database's name that shows that the restore isn't done; PostgreSQL's names have at most 63 bytes.

    Parameters
    ----------
    attempt:
        12 hex digits of a restore that must find its database again; by default new ones.
    """
    return f"{_start(name)}_restoring_{attempt or new_attempt()}"


def working_schema() -> str:
    """A schema's name that shows the same."""
    return f"coffre_restoring_{new_attempt()}"


def left_databases(session: Session, name: str) -> list[Finding]:
    """Databases that a restore into the database of this name left, or is building."""
    pattern = re.compile(re.escape(_start(name)) + "_restoring_[0-9a-f]{12}")
    found = session.run(_DATABASES)
    return [
        _leftover("database", one, DROP_SUBSCRIPTIONS if subscribes else DROP)
        for one, subscribes in found
        if pattern.fullmatch(one)
    ]


def left_schemas(session: Session) -> list[Finding]:
    """Schemas of the session's database that a restore of some tables left, or is building."""
    names = session.run("SELECT nspname::text FROM pg_namespace ORDER BY 1")
    return [_leftover("schema", found, DROP) for (found,) in names if _SCHEMA.fullmatch(found)]


def _start(name: str) -> str:
    return name.encode()[:40].decode("utf-8", "ignore")


def _leftover(kind: str, name: str, advice: str) -> Finding:
    message = f"{kind} {name} is left of a restore that was interrupted, or still runs"
    return Finding(level="warn", code="leftover", object=name, message=message, advice=advice)
