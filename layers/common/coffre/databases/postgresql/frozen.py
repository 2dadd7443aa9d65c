"""Rows that are loaded as vacuum would leave them: nobody who reads them has to write their pages again.

``COPY ... (FREEZE)`` wants a table that was made or truncated in its own transaction.  Coffre truncates no
table that has rows: it locks the table, looks, and truncates what it found empty, so that nothing but an
empty file is exchanged for another one.  Where that can't be had the rows are loaded without.

Where ``wal_level`` is ``minimal`` the server then writes no write-ahead log for the rows either.
Source: https://www.postgresql.org/docs/current/sql-copy.html,
https://www.postgresql.org/docs/current/populate.html
"""

from __future__ import annotations

from collections.abc import Callable

from coffre.databases.postgresql.connection import Session, qualified
from coffre.databases.postgresql.statements import copy_from
from coffre.errors import CoffreError, LockNotGrantedError, PrivilegesMissingError
from coffre.vault.parts import Relation


def load_frozen(session: Session, relation: Relation, load: Callable[[str], object]) -> None:
    """Load all rows of a table, in one transaction.

    Parameters
    ----------
    load:
        Runs the COPY that it is given.

    Raises
    ------
    CoffreError
        What ``load`` raises; nothing of it stays.
    """
    if not _take_over(session, relation):
        load(copy_from(relation))
        return
    try:
        load(copy_from(relation, frozen=True))
        session.run("COMMIT")
    except CoffreError:
        session.roll_back()
        raise


def _take_over(session: Session, relation: Relation) -> bool:
    """Begin a transaction in which the table may be loaded frozen; False, and no transaction, if it can't be.

    Whoever inserts holds a lock that stands against this one, so that what is empty now stays empty.
    """
    name = qualified(relation.schema, relation.name)
    session.run("BEGIN")
    try:
        session.run(f"LOCK TABLE ONLY {name} IN ACCESS EXCLUSIVE MODE NOWAIT")
        if session.value(f"SELECT NOT EXISTS (SELECT FROM ONLY {name})"):
            session.run(f"TRUNCATE ONLY {name}")
            return True
    except (LockNotGrantedError, PrivilegesMissingError):
        pass
    except CoffreError:
        session.roll_back()
        raise
    session.roll_back()
    return False
