"""Statements that a restore would do well to run, and doesn't fail without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from coffre.databases.postgresql.connection import Session
from coffre.errors import CoffreError, ServerMemoryError
from coffre.results import Finding

BATCH = 500
"""Roles in a transaction, which holds locks on all of them: 6,400 locks is all that a server has by default.
Source: https://www.postgresql.org/docs/current/runtime-config-locks.html (max_locks_per_transaction)"""

SHOWN = 200
"""Characters of a statement that a finding shows at most."""

T = TypeVar("T")


def batches(things: Iterable[T]) -> Iterator[list[T]]:
    """The things, so many at a time as may be dealt with in one transaction."""
    rest = iter(things)
    while batch := list(islice(rest, BATCH)):
        yield batch


def attempt(session: Session, statements: Iterable[str], code: str) -> list[Finding]:
    """Run statements within the session's transaction, which goes on without those that fail.

    Parameters
    ----------
    code:
        Of the findings, one for each of those.  They show statements without values, which may be secret.

    Raises
    ------
    ServerMemoryError
        That is no statement's fault: the transaction has too many locks.
    CoffreError
        If the session breaks.
    """
    findings = []
    for statement in statements:
        session.run("SAVEPOINT before")  # by itself: of what the encoding hasn't, no part runs
        try:
            session.run(f"{statement}; RELEASE before")
        except ServerMemoryError:
            raise
        except CoffreError as error:
            session.run("ROLLBACK TO before; RELEASE before")
            findings.append(_failed(code, statement, error.message))
    return findings


def _failed(code: str, statement: str, message: str) -> Finding:
    shown = statement.partition("'")[0].removesuffix(" E").rstrip()[:SHOWN]
    return Finding(level="warn", code=code, object=shown, message=message)
