"""Whether what the owner calls critical is there after a restore."""

from __future__ import annotations

from collections.abc import Sequence

from coffre.databases.postgresql.connection import Session
from coffre.databases.registry import Registry
from coffre.errors import CoffreError, QueryFailedError
from coffre.results import Finding


def critical_tables(registry: Registry, database: str) -> Sequence[str]:
    """The critical tables of a registration; none where there is no registration that can be read."""
    try:
        return registry.get(database).critical_tables
    except CoffreError:
        return ()


def missing_tables(session: Session, tables: Sequence[str]) -> list[Finding]:
    """A warning for each critical table that the restored database doesn't hold.

    Parameters
    ----------
    tables:
        Names as in SQL; without a schema ``public`` is meant.
    """
    return [
        Finding(
            level="warn",
            code="critical-table-missing",
            object=name,
            message=f"critical table {name} isn't in the restored database",
            advice="The backup doesn't hold it: choose another backup, or correct the registration.",
        )
        for name in tables
        if not _exists(session, name if "." in name else f"public.{name}")
    ]


def _exists(session: Session, name: str) -> bool:
    try:
        return session.value("SELECT to_regclass(:name)::oid::int8", name=name) is not None
    except QueryFailedError:  # not a name
        return False
