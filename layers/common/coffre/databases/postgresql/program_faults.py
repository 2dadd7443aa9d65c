"""Translation of what PostgreSQL's programs say when they fail into Coffre's errors.

Their exit code is 1 for nearly everything.  What tells a lost session or a full disk from all else are the
words of libpq and of the system, which the programs print in English (they run without a locale) and at the
beginning of a line.  A server's message may repeat them, and have several lines; it begins with its severity,
and an error ends no session.
Source: ``pqReadData`` and ``pqSendSome`` in fe-misc.c, ``pgtls_read`` in fe-secure-openssl.c, and
``PQsendQueryStart`` in fe-exec.c; ``WRITE_ERROR_EXIT`` in pg_backup_archiver.h and ``_CloseArchive`` in
pg_backup_custom.c
"""

from __future__ import annotations

import re

from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError, ConnectionLostError, DiskFullError, ToolFailedError

_LOST = re.compile(
    r"^(?:pg_\w+: error: (?:query failed|could not execute query): )?"
    r"(?:server closed the connection unexpectedly"
    r"|no connection to the server"
    r"|could not (?:receive data from|send data to) server: "
    r"|SSL connection has been closed unexpectedly"
    r"|SSL (?:SYSCALL )?error: )"
)
_NEXT, _ERROR = re.compile(r"pg_\w+: "), "ERROR:  "
_DISK_FULL = re.compile(
    r"^pg_\w+: error: could not (?:write to output|close archive) file: No space left on device$",
    re.MULTILINE,
)
_NOT_CONNECTED = re.compile(r"^\w+: error: connection to server ", re.MULTILINE)

_ASKING_SECONDS = 10.0


def program_failed(message: str, said: str, target: Target | None) -> CoffreError:
    """The error for a program that ended with one.

    Parameters
    ----------
    message:
        For people: the program, its database, and what it said.
    said:
        What it said.
    target:
        What it connected to, if it did.

    Returns
    -------
    CoffreError
        `DiskFullError` if it had no room for what it writes; `ConnectionLostError` if its session broke; why
        there was none to be had, as the server tells a session of ours; otherwise `ToolFailedError`.
    """
    if _DISK_FULL.search(said) and _ERROR not in said:
        return DiskFullError(message)
    if target is not None and _is_lost(said):
        return ConnectionLostError(message)
    if target is not None and _NOT_CONNECTED.search(said):
        return _why_not_connected(target) or ToolFailedError(message)
    return ToolFailedError(message)


def _is_lost(said: str) -> bool:
    is_refused = False
    for line in said.splitlines():
        if _NEXT.match(line):
            is_refused = False
        if _ERROR in line:
            is_refused = True
        elif not is_refused and _LOST.match(line):
            return True
    return False


def _why_not_connected(target: Target) -> CoffreError | None:
    """Ask for a session, since a refusal's cause is its SQLSTATE, which the programs don't print."""
    try:
        open_session(target, seconds=_ASKING_SECONDS).close()
    except CoffreError as error:
        return error
    return None
