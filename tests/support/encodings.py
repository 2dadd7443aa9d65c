"""Databases in each encoding that PostgreSQL's servers have, with names that only their own sessions can say.

Source: https://www.postgresql.org/docs/current/multibyte.html#MULTIBYTE-CHARSET-SUPPORTED
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coffre.databases.postgresql.connection import identifier, literal, open_session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from tests.support.postgres import customer_server, sql, target

_SINGLE = (
    *(f"ISO_8859_{number}" for number in range(5, 9)),
    *("KOI8R", "KOI8U"),
    *(f"LATIN{number}" for number in range(1, 11)),
    *("WIN866", "WIN874"),
    *(f"WIN{number}" for number in range(1250, 1259)),
)
_MULTIPLE = {
    "EUC_CN": b"\xba\xba\xa9\xfe",
    "EUC_JIS_2004": b"\x8e\xb1\xb4\xc1\xa4\xab\xa1\xac",
    "EUC_JP": b"\x8e\xb1\x8f\xb0\xa1\xb4\xc1\xa9\xfe",
    "EUC_KR": b"\xb0\xa1\xa9\xfe",
    "EUC_TW": b"\xa4\xa4\x8e\xa2\xa1\xa1",
    "MULE_INTERNAL": b"\x81\xe9\x92\xb4\xc1",
    "SQL_ASCII": b"\xe9\xff\xc3\xa9",
    "UTF8": "é漢🐘".encode(),
}
ENCODINGS = (*_SINGLE, *_MULTIPLE)


def names_in(encoding: str) -> list[bytes]:
    """Names that hold characters of all kinds; in an encoding of single bytes all bytes above 127."""
    if encoding in _MULTIPLE:
        return [b"of " + _MULTIPLE[encoding]]
    return [b"caf\xe9", bytes(range(0x80, 0xBF)), bytes(range(0xBF, 0xFE)), b"\xfe\xff"]


FOREIGN = b"caf\xe9".decode("utf-8", "surrogateescape")
"""The role of `foreign_server`, as a session in UTF8 reads its name."""


@contextmanager
def foreign_server(root: Path, scratch: Path) -> Iterator[EphemeralServer]:
    """A server with a role that was made in a database of another encoding."""
    with customer_server(root, 16, scratch) as started:
        sql(create_in(started, "LATIN1", "latin"), "CREATE ROLE café SUPERUSER LOGIN")
        yield started


def create_in(server: EphemeralServer, encoding: str, name: str) -> Target:
    """An empty database in an encoding."""
    made = f"ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    sql(target(server, "postgres"), f"CREATE DATABASE {identifier(name)} {made}")
    return target(server, name)


def create_named(server: EphemeralServer, encoding: str, name: str) -> Target:
    """A database whose schema, table, columns, rows, rights and comments are of an encoding.

    So is the role that owns them; the database's own name is a part of its.
    """
    made = create_in(server, encoding, name)
    with open_session(made, seconds=60) as session:
        said = [raw.decode(session.python_encoding) for raw in names_in(encoding)]
        schema, *more = map(identifier, said)
        table, role = f"{schema}.{schema}", identifier(f"{said[0]} {name}")
        columns = "".join(f"{column} text, " for column in [schema, *more])
        check = f"CHECK ({schema} <> {literal(said[-1] + ' no')})"
        for statement in (
            f"CREATE ROLE {role}; CREATE SCHEMA {schema} AUTHORIZATION {role}",
            f"CREATE TABLE {table} ({columns} id serial PRIMARY KEY, {check})",
            f"INSERT INTO {table} ({schema}) VALUES ({literal(said[0])}), (NULL), ('plain')",
            f"CREATE INDEX ON {table} ({schema}); ALTER TABLE {table} OWNER TO {role}",
            f"CREATE TABLE public.granted (); GRANT SELECT ON public.granted TO {role}",
            f"COMMENT ON TABLE {table} IS {literal(said[-1])}",
            f"SELECT lo_create(77); ALTER LARGE OBJECT 77 OWNER TO {role}",
            f"COMMENT ON LARGE OBJECT 77 IS {literal(said[0])}",
        ):
            session.run(statement)
    return made


def named(where: Target) -> list[list[str]]:
    """The bytes, in hex, of what `create_named` names: relations with their owners and columns, and rows."""
    relations = sql(
        where,
        """SELECT encode(textsend(n.nspname::text || '.' || c.relname::text), 'hex'),
                  encode(textsend(pg_get_userbyid(c.relowner)::text), 'hex'), c.relacl::text,
                  (SELECT string_agg(encode(textsend(a.attname::text), 'hex'), ' ' ORDER BY a.attnum)
                   FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = 'public' OR n.oid >= 16384 ORDER BY 1""",
    )
    with open_session(where, seconds=60) as session:
        schema = identifier(
            session.value("SELECT nspname::text FROM pg_namespace WHERE oid >= 16384 AND nspname <> 'public'")
        )
        rows = session.run(f"SELECT encode(textsend(t.*::text), 'hex') FROM {schema}.{schema} t ORDER BY 1")
    return [*relations, *rows]
