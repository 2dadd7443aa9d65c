"""Rows of any relation, in the format that its kind has."""

from __future__ import annotations

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.copy import copy_out
from coffre.databases.postgresql.frames import RecordSink
from coffre.vault.parts import Relation


def read_rows(session: Session, relation: Relation, statement: str, sink: RecordSink) -> int:
    """Hand a relation's rows to ``sink``: as text, or the pieces of large objects as binary records.

    Parameters
    ----------
    statement:
        Of `coffre.databases.postgresql.statements`, for this relation.

    Returns
    -------
    int
        How many there were.
    """
    if relation.is_table:
        return copy_out(session, statement, sink)
    from coffre.databases.postgresql.copy_binary import copy_out_binary  # few need it

    return copy_out_binary(session, statement, sink)
