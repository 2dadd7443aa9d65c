"""What ends a restore: differences from its backup, and exceptions that its plan doesn't accept."""

from __future__ import annotations

from collections.abc import Sequence

from coffre.databases.postgresql.notes import Notes
from coffre.databases.postgresql.target import Target
from coffre.errors import RestoreExceptionsError, RestoreMismatchError, RowsLostError
from coffre.events.restore import RestoreRequest
from coffre.readable import first_of
from coffre.results import Finding

NAMED = 20
"""How many findings a message names at most."""


def refuse_exceptions(request: RestoreRequest, backup_id: str, exceptions: Sequence[Finding]) -> None:
    """Exceptions end the restore, unless the confirmed plan accepts them.

    Raises
    ------
    RestoreExceptionsError
    """
    if exceptions and request.exceptions == "refuse":
        raise RestoreExceptionsError(f"{backup_id} can't be restored whole: {_named(exceptions)}")


def refuse_differences(target: Target, differences: Sequence[Finding]) -> None:
    """Differences between the backup and what was restored end the restore; they are named.

    Raises
    ------
    RestoreMismatchError
    """
    if differences:
        raise RestoreMismatchError(f"{target.label} differs from the backup: {_named(differences)}")


def refuse_lost_rows(target: Target, notes: Notes) -> None:
    """Tables that a crash of the server emptied end the restore.

    Raises
    ------
    RowsLostError
    """
    lost = notes.lost_rows()
    if lost:
        raise RowsLostError(
            f"the server crashed while {target.label} was restored, and emptied unlogged tables: "
            f"{first_of(lost, NAMED)}"
        )


def _named(findings: Sequence[Finding]) -> str:
    return "; ".join(finding.message for finding in findings[:NAMED])
