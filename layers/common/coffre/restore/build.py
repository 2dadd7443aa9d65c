"""Bring the database into being: under a working name, and under its final name once it is whole."""

from __future__ import annotations

from dataclasses import replace

from coffre.databases.postgresql.connection import Session, identifier, literal, open_session
from coffre.databases.postgresql.exchange import Exchange, exchange_names
from coffre.databases.postgresql.standing import find
from coffre.databases.postgresql.subscriptions import drop_subscriptions
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    CoffreError,
    DatabaseMissingError,
    PlanChangedError,
    QueryFailedError,
    RestoreMismatchError,
)
from coffre.restore.fill import fill
from coffre.restore.job import Restore
from coffre.restore.leftovers import working_name, working_schema
from coffre.restore.plan import Situation
from coffre.restore.swap import put_in_place
from coffre.results import Finding
from coffre.vault.manifest import Manifest

MARK_SECONDS = 60.0
DROP_SECONDS = 60.0

LOGIN_TRIGGERS = 17
"""From this version on a database's own triggers may run when somebody connects, and can be turned off."""

PROVIDERS = 15
"""From this version on a database's collation may be that of another library than libc."""

_SUBSCRIBES = """
SELECT EXISTS (SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = :name)
"""
_EXISTS = "42P04"


def build(restore: Restore, situation: Situation) -> tuple[list[Finding], list[Finding]]:
    """Create, fill, compare, and give the final name; what was not like at the source, and the exceptions."""
    if not situation.creates:
        return _fill_existing(restore, situation)
    working = replace(restore.wanted, database=working_name(restore.wanted.database))
    maintenance = restore.wanted.maintenance
    with open_session(
        maintenance, seconds=restore.watch.seconds_left, application="coffre/restore"
    ) as session:
        create_database(session, restore.manifest, working.database)
    try:
        findings, exceptions = fill(restore, situation, working)
        findings += _name(restore, situation, working.database)
    except RestoreMismatchError:
        raise
    except BaseException:
        discard_database(maintenance, working.database)
        raise
    return findings, exceptions


def _fill_existing(restore: Restore, situation: Situation) -> tuple[list[Finding], list[Finding]]:
    """Fill an empty database that bears its final name: a schema shows as long as it isn't whole."""
    mark, wanted = working_schema(), restore.wanted
    with open_session(wanted, seconds=MARK_SECONDS, application="coffre/restore") as session:
        session.run(f"CREATE SCHEMA {identifier(mark)}")
    return fill(restore, situation, wanted, mark)


def _name(restore: Restore, situation: Situation, working: str) -> list[Finding]:
    """Give the database its final name."""
    wanted, seconds = restore.wanted, restore.watch.seconds_left
    if situation.swap is not None:
        return put_in_place(wanted, situation.swap, working, seconds=seconds)
    with open_session(wanted.maintenance, seconds=seconds, application="coffre/restore") as session:
        made = find(session, working)
    if made is None:
        raise DatabaseMissingError(f"the restored database {working!r} is gone", "Run the restore again.")
    names = Exchange(wanted.database, None, "", (made.oid, working), {})
    try:
        exchange_names(wanted.maintenance, names, seconds=seconds)  # whoever looks into it is ended
    except QueryFailedError as error:
        if error.sqlstate == _EXISTS:
            raise PlanChangedError(f"{wanted.label} was made by somebody else meanwhile") from error
        raise
    return []


def create_database(session: Session, manifest: Manifest, name: str) -> None:
    """Create the database with the source's encoding and, where the server has it, its collation."""
    locale = manifest.locale
    base = f"CREATE DATABASE {identifier(name)} TEMPLATE template0 ENCODING {literal(locale.encoding)}"
    # Without a word it would be the provider that the server's templates have.
    provider = " LOCALE_PROVIDER libc" if session.major >= PROVIDERS else ""
    if locale.provider == "i" and locale.locale is not None:
        provider = f" LOCALE_PROVIDER icu ICU_LOCALE {literal(locale.locale)}"
    elif locale.provider == "b" and locale.locale is not None and session.major >= 17:
        provider = f" LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(locale.locale)}"
    session.run(f"{base}{provider} LC_COLLATE {literal(locale.collate)} LC_CTYPE {literal(locale.ctype)}")


def discard_database(maintenance: Target, name: str) -> None:
    """Remove a database that a restore created and doesn't need any more, if that can be done."""
    try:
        drop_database(maintenance, name, seconds=DROP_SECONDS)
    except CoffreError:
        # The first error is the one to report; the working name shows what is left.
        return


def drop_database(maintenance: Target, name: str, *, seconds: float) -> None:
    """Remove a database that a restore created, if it is there, with its subscriptions.

    PostgreSQL doesn't drop a database that has any, not even those that know of no slot.

    Parameters
    ----------
    seconds:
        How long each statement may take.

    Raises
    ------
    CoffreError
        It is left, for a reason that the message tells.
    """
    with open_session(maintenance, seconds=seconds, application="coffre/restore") as session:
        if session.value(_SUBSCRIBES, name=name):
            if session.major >= LOGIN_TRIGGERS:
                session.run(f"ALTER DATABASE {identifier(name)} SET event_triggers = off")
            made = replace(maintenance, database=name)
            with open_session(made, seconds=seconds, application="coffre/restore") as inside:
                drop_subscriptions(inside)
        session.run(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")
