"""Indexes on text, checked by PostgreSQL's own amcheck: their order is that of the server's libraries.

A restore builds them anew, so they are in order by whatever library this server has; the check shows it, and
says so where it can't.
Source: https://www.postgresql.org/docs/current/amcheck.html
"""

from __future__ import annotations

import time

from coffre.databases.postgresql.connection import Session, identifier
from coffre.errors import CoffreError, DeadlineExceededError, PrivilegesMissingError, QueryFailedError
from coffre.results import Finding

_TEXT_INDEXES = """
SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_am a ON a.oid = c.relam
WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisvalid
  AND left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
  AND EXISTS (SELECT FROM unnest(i.indcollation) AS k (oid) JOIN pg_collation l ON l.oid = k.oid
              WHERE l.collname NOT IN ('C', 'POSIX', 'ucs_basic'))
ORDER BY 2
"""
_SCHEMA = "coffre_recheck"
_INSTALLED = """
SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'
"""
_AVAILABLE = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck')"


def recheck_text_indexes(session: Session, until: float | None = None) -> tuple[list[Finding], list[Finding]]:
    """Check the order of every B-tree index on text; the database is left as it was.

    Parameters
    ----------
    until:
        When no further index is begun, on `time.monotonic`'s clock; None: all are checked.

    Returns
    -------
    tuple[list[Finding], list[Finding]]
        The indexes that are out of order, and what should be known: that they couldn't be checked.

    Raises
    ------
    CoffreError
        If the session breaks.
    """
    indexes = session.run(_TEXT_INDEXES)
    if not indexes:
        return [], []
    session.run("BEGIN")
    try:
        schema = _amcheck(session)
        if schema is None:
            return [], [_unchecked(len(indexes))]
        wrong: list[Finding] = []
        for count, (oid, name) in enumerate(indexes):
            if until is not None and time.monotonic() > until:
                return wrong, [_unread(len(indexes) - count)]
            try:
                wrong += _check(session, schema, oid, name)
            except PrivilegesMissingError:  # whoever installed it need not have allowed it to this role
                return wrong, [_unchecked(len(indexes) - count)]
        return wrong, []
    finally:
        session.run("ROLLBACK")


def _amcheck(session: Session) -> str | None:
    """The schema of amcheck, which is installed until the transaction ends; None if it can't be."""
    schema = session.value(_INSTALLED) if session.run(_INSTALLED) else None
    if schema is not None or not session.value(_AVAILABLE):
        return schema
    session.run("SAVEPOINT before")
    try:
        session.run(f"CREATE SCHEMA {_SCHEMA}; CREATE EXTENSION amcheck SCHEMA {_SCHEMA}")
    except (PrivilegesMissingError, QueryFailedError):
        session.run("ROLLBACK TO before")
        return None
    return _SCHEMA


def _check(session: Session, schema: str, oid: int, name: str) -> list[Finding]:
    session.run("SAVEPOINT before")
    try:
        # Exactly the extension's: another function of that name might fit a number better.
        session.run(f"SELECT {identifier(schema)}.bt_index_check({int(oid)}::regclass)")
    except (DeadlineExceededError, PrivilegesMissingError):
        raise
    except CoffreError as error:
        session.run("ROLLBACK TO before")
        message = f"the index {name} is out of order: {error.message}"
        return [Finding(level="refuse", code="index-out-of-order", object=name, message=message)]
    return []


def _unread(count: int) -> Finding:
    return Finding(
        level="info",
        code="indexes-not-rechecked",
        object="time",
        message=f"the order of {count} indexes on text was not checked: there was no time for all",
        advice="They were built by this server, so they follow its own collations.",
        count=count,
    )


def _unchecked(count: int) -> Finding:
    return Finding(
        level="info",
        code="indexes-not-rechecked",
        object="amcheck",
        message=f"the order of {count} indexes on text was not checked: this role can't use amcheck here",
        advice="They were built by this server, so they follow its own collations.",
        count=count,
    )
