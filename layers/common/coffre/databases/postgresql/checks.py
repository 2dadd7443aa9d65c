"""The owner's checks: SQL with expected results, run in a restored copy by a role that can only read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from coffre.databases.postgresql.absent import AbsentRows, reading
from coffre.databases.postgresql.connection import Session, identifier, literal
from coffre.errors import CoffreError, ConnectionLostError, DeadlineExceededError, SourceUnreachableError
from coffre.results import Finding

SHOWN = 200
"""Characters of an answer that a finding shows."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    sql:
        One query whose only row has one column.
    expect:
        The value's text as psql shows it; None for NULL.
    seconds:
        How long it may take, at most.
    """

    name: str
    sql: str
    expect: str | None
    seconds: float


def create_reader(session: Session, name: str) -> None:
    """An ordinary role that reads every row and writes none."""
    role = identifier(name)
    session.run(f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS")
    session.run(f"GRANT pg_read_all_data TO {role}")
    session.run(f"ALTER ROLE {role} SET default_transaction_read_only = on")


UNPROVEN = "unproven-check"


def run_checks(
    checks: Iterable[Check],
    connect: Callable[[], Session],
    seconds_left: Callable[[], float],
    absent: AbsentRows | None = None,
) -> list[Finding]:
    """Run the checks, each in a session and a read-only transaction of its own.

    Parameters
    ----------
    connect:
        Opens a session as the reader.
    seconds_left:
        How long all of them may still take.
    absent:
        Rows that aren't there; None: all are.

    Returns
    -------
    list
        ``check-failed`` with what came, ``check-error`` with what the server said; and what says nothing
        about the backup: ``check-timeout``, because this server may be slower than the owner's, and
        `UNPROVEN`, for what read absent rows, whether it held or not.

    Raises
    ------
    ConnectionLostError, SourceUnreachableError
        The server is gone.
    """
    findings = []
    for check in checks:
        within = max(0.001, min(check.seconds, seconds_left()))
        finding = _run(replace(check, seconds=within), connect, absent)
        findings += [finding] if finding else []
    return findings


def _run(check: Check, connect: Callable[[], Session], absent: AbsentRows | None) -> Finding | None:
    started = time.monotonic()
    try:
        with connect() as session:
            rows, read = _answer(session, check, absent)
    except DeadlineExceededError:
        spent = time.monotonic() - started
        message = f"check {check.name} was ended after {spent:.1f} s of {check.seconds:g} s"
        advice = "Give it more seconds, or ask for less."
        return _finding("warn", "check-timeout", check, message, advice)
    except (ConnectionLostError, SourceUnreachableError):
        raise  # the server is gone, whatever the check asked for
    except CoffreError as error:
        advice = "Try the query at the source; names without a schema are looked for in `public`."
        return _finding("refuse", "check-error", check, f"check {check.name}: {error.message}", advice)
    if read:
        message = f"check {check.name} says nothing: {reading(read)}"
        return _finding("warn", UNPROVEN, check, message)
    if len(rows) != 1 or len(rows[0]) != 1:
        shape = "no row" if not rows else "more than one row" if len(rows) > 1 else f"{len(rows[0])} columns"
        message = f"check {check.name}: {shape} came, expected one row of one column"
        return _finding("refuse", "check-failed", check, message)
    if rows[0][0] == check.expect:
        return None
    message = f"check {check.name}: {_shown(rows[0][0])} came, expected {_shown(check.expect)}"
    return _finding("refuse", "check-failed", check, message)


def _answer(
    session: Session, check: Check, absent: AbsentRows | None
) -> tuple[list[list[str | None]], tuple[str, ...]]:
    """The first two rows, as text, and the absent tables that were read for them."""
    milliseconds = max(1, int(check.seconds * 1000))  # 0 would be no limit
    session.run(
        f"SELECT pg_catalog.set_config('search_path', 'public', false), "
        f"pg_catalog.set_config('statement_timeout', {literal(f'{milliseconds}ms')}, false)"
    )
    session.run("BEGIN READ ONLY")
    if absent is None:
        return _first_rows(session, check), ()
    rows: list[list[str | None]] = []
    watch = absent.watch(session)
    error = watch.run(lambda: rows.extend(_first_rows(session, check)))
    read = watch.read(error)
    if error is not None and not read:
        raise error
    return rows, read


def _first_rows(session: Session, check: Check) -> list[list[str | None]]:
    """Asked by a cursor: it takes queries only, and holds no more than is asked of it."""
    session.run_one(f"DECLARE answer NO SCROLL CURSOR FOR {check.sql}")
    return session.run_one("FETCH 2 FROM answer")


def _shown(value: str | None) -> str:
    if value is None:
        return "NULL"
    return repr(value if len(value) <= SHOWN else f"{value[:SHOWN]}...")


def _finding(
    level: Literal["refuse", "warn"], code: str, check: Check, message: str, advice: str = ""
) -> Finding:
    return Finding(level=level, code=code, object=check.name, message=message, advice=advice)
