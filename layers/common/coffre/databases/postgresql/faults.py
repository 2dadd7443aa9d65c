"""Translation of the driver's and the server's errors into Coffre's.

Decisions follow the SQLSTATE, never a message's text.
Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import ssl

from pg8000.exceptions import DatabaseError, InterfaceError

from coffre.errors import (
    AuthenticationError,
    CatalogChangedError,
    CoffreError,
    ConnectionLostError,
    DatabaseMissingError,
    DeadlineExceededError,
    DiskFullError,
    LockNotGrantedError,
    PrivilegesMissingError,
    QueryFailedError,
    ServerMemoryError,
    SourceUnreachableError,
    TlsError,
    ValueTooLargeError,
)

_BY_STATE: dict[str, type[CoffreError]] = {
    "28P01": AuthenticationError,
    "28000": AuthenticationError,
    "3D000": DatabaseMissingError,
    "42501": PrivilegesMissingError,
    "42P01": CatalogChangedError,
    "42703": CatalogChangedError,
    "55P03": LockNotGrantedError,
    "54000": ValueTooLargeError,
    "57014": DeadlineExceededError,
    "57P01": ConnectionLostError,
    "57P02": ConnectionLostError,
    "57P03": SourceUnreachableError,
    "57P05": ConnectionLostError,
    "25P02": ConnectionLostError,
    "25P03": ConnectionLostError,
    "25P04": DeadlineExceededError,
    "53100": DiskFullError,
    "53200": ServerMemoryError,
    "53300": SourceUnreachableError,
}


_INTERNAL, _LIMIT_EXCEEDED = "XX000", "54000"
_ALLOCATOR = "mcxt.c"
"""The server's source file that refuses what exceeds 1 GB, as an internal error: a value's text, here.
Source: ``MemoryContextAlloc`` and ``MemoryContextSizeFailure``"""


def server_error(fields: dict[str, str], where: str) -> CoffreError:
    """The error for an ErrorResponse.

    Parameters
    ----------
    fields:
        The response's fields by their one-letter names: ``C`` the SQLSTATE, ``M`` the message, ``F`` the
        server's source file.
    where:
        What was being worked on, for the message.
    """
    state, text = fields.get("C", ""), fields.get("M", "unknown error")
    if state == _INTERNAL and fields.get("F") == _ALLOCATOR:
        state = _LIMIT_EXCEEDED
    message = f"{where}: the server says: {text} (SQLSTATE {state})"
    cls = _BY_STATE.get(state)
    if cls is not None:
        return cls(message)
    if state.startswith("08"):
        return ConnectionLostError(message)
    return QueryFailedError(message, sqlstate=state)


def statement_failed(error: Exception, where: str) -> CoffreError:
    """The error for a statement that failed in the driver."""
    said = _server_said(error)
    if said is not None:
        return server_error(said, where)
    return ConnectionLostError(f"the session with {where} broke: {type(error).__name__}")


def connecting_failed(error: BaseException, where: str) -> CoffreError:
    """The error for a connection that could not be made."""
    said = _server_said(error)
    if said is not None:
        return server_error(said, where)
    cause = error.__cause__ if isinstance(error, InterfaceError) and error.__cause__ else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TlsError(f"the certificate of {where} doesn't verify: {cause.verify_message}")
    if isinstance(cause, ssl.SSLError):
        return TlsError(f"no TLS session with {where}: {cause.reason}")
    if isinstance(cause, InterfaceError) and "refuses SSL" in str(cause):
        # The driver has one class for all of its errors; nothing but the text tells this one apart.
        return TlsError(
            f"the server of {where} refuses TLS", "Enable ssl there, or set sslmode=disable knowingly."
        )
    return SourceUnreachableError(f"{where} can't be reached: {cause}")


def _server_said(error: BaseException | None) -> dict[str, str] | None:
    """The fields of the server's last words; None if it said nothing.

    A server that refuses a connection closes it at once; the driver's own farewell may then break, and that
    error hides the one that matters in its context.
    """
    while error is not None:
        if isinstance(error, DatabaseError) and error.args and isinstance(error.args[0], dict):
            return error.args[0]
        error = error.__cause__ or error.__context__
    return None
