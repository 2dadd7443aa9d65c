"""What tells one server from another."""

from __future__ import annotations

from coffre.databases.postgresql.connection import Session


def system_identifier(session: Session) -> int | None:
    """The server's number, which its physical replicas share; None if this role may not ask for it.

    Source: https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-CONTROLDATA
    """
    if not session.value("SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')"):
        return None
    return int(session.value("SELECT system_identifier FROM pg_control_system()"))
