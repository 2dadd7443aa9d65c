"""Everything that a backup records of a database beside its rows, read under one snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.databases.postgresql.connection import PINNED, Session
from coffre.databases.postgresql.described import read_described
from coffre.databases.postgresql.identity import system_identifier
from coffre.databases.postgresql.inventory import Inventory, take_inventory
from coffre.databases.postgresql.large_objects import read_groups
from coffre.databases.postgresql.objects import count_objects, list_needs
from coffre.databases.postgresql.roles import read_database, read_roles
from coffre.databases.postgresql.tools import dump_major
from coffre.vault.manifest import Engine, Extension, Locale, Snapshot
from coffre.vault.parts import DatabaseRecord, Described, LargeObjects, Role


@dataclass(frozen=True)
class Description:
    """A database, as the manifest and the parts describe it."""

    engine: Engine
    snapshot: Snapshot
    locale: Locale
    extensions: list[Extension]
    settings: dict[str, str]
    objects: dict[str, int]
    needs: list[str]
    roles: list[Role]
    database: DatabaseRecord
    described: list[Described]
    large_objects: list[LargeObjects]
    inventory: Inventory

    @property
    def tools_major(self) -> int:
        """The major version of the tools that fit the server."""
        return dump_major(self.engine.major)


def describe(session: Session) -> Description:
    """Read everything but the rows, under the session's snapshot."""
    locale = _locale(session)
    return Description(
        engine=_engine(session, f"pg_dump {dump_major(session.major)}"),
        snapshot=_snapshot(session),
        locale=locale,
        extensions=_extensions(session),
        settings={**PINNED, "client_encoding": session.encoding},
        objects=count_objects(session),
        needs=list_needs(session, locale.provider),
        roles=read_roles(session),
        database=read_database(session),
        described=read_described(session),
        large_objects=read_groups(session),
        inventory=take_inventory(session),
    )


def _engine(session: Session, tools_version: str) -> Engine:
    """The server's and the database's identity; the system's id is empty if the role may not ask for it."""
    system = system_identifier(session)
    name, oid = session.run(
        "SELECT datname, oid::bigint FROM pg_database WHERE datname = current_database()"
    )[0]
    return Engine(
        name="postgresql",
        server_version=str(session.value("SHOW server_version")),
        server_version_num=session.version,
        tools_version=tools_version,
        system_identifier=f"{system:x}" if system is not None else "",
        database=name,
        database_oid=oid,
    )


def _snapshot(session: Session) -> Snapshot:
    """The instant: time, position in the write-ahead log, and the transactions that it sees."""
    taken, lsn, transactions = session.run(
        """SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text,
           pg_current_snapshot()::text"""
    )[0]
    return Snapshot(taken=taken, lsn=lsn, transactions=transactions)


def _locale(session: Session) -> Locale:
    """Encoding and collation of the database."""
    by_version = {
        14: ("'c'", "NULL"),
        15: ("datlocprovider::text", "daticulocale"),
        16: ("datlocprovider::text", "daticulocale"),
    }
    provider, locale = by_version.get(session.major, ("datlocprovider::text", "datlocale"))
    row = session.run(
        f"""SELECT pg_encoding_to_char(encoding), {provider}, datcollate, datctype, {locale}::text
            FROM pg_database WHERE datname = current_database()"""
    )[0]
    return Locale(encoding=row[0], provider=row[1], collate=row[2], ctype=row[3], locale=row[4])


def _extensions(session: Session) -> list[Extension]:
    """The installed extensions."""
    rows = session.run(
        """SELECT e.extname, e.extversion, n.nspname FROM pg_extension e
           JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY e.extname"""
    )
    return [Extension.model_validate({"name": row[0], "version": row[1], "schema": row[2]}) for row in rows]
