"""Statements that a restore would do well to run, and doesn't fail without."""

from __future__ import annotations

from collections.abc import Iterable

from coffre.databases.postgresql.connection import Session
from coffre.errors import CoffreError
from coffre.results import Finding


def attempt(session: Session, statements: Iterable[str], code: str) -> list[Finding]:
    """Run statements within the session's transaction, which goes on without those that fail.

    Parameters
    ----------
    code:
        Of the findings, one for each of those.  They show statements without values, which may be secret.

    Raises
    ------
    CoffreError
        If the session breaks.
    """
    findings = []
    for statement in statements:
        session.run("SAVEPOINT before")  # by itself: of what the encoding hasn't, no part runs
        try:
            session.run(f"{statement}; RELEASE before")
        except CoffreError as error:
            session.run("ROLLBACK TO before; RELEASE before")
            findings.append(_failed(code, statement, error.message))
    return findings


def _failed(code: str, statement: str, message: str) -> Finding:
    shown = statement.partition("'")[0].removesuffix(" E").rstrip()
    return Finding(level="warn", code=code, object=shown, message=message)
