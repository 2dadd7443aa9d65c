"""What a restore that takes many functions notes about itself, in the database that it fills.

A run of chunks, a stretch of pages that was read, an index: each is noted in the transaction that does it,
under a number that can be noted once.  So whatever is repeated, doubled or killed at any moment was either
done, and is skipped, or it was not, and left nothing: nothing outside of the database has to be believed.
The notes lie in a schema of their own, which goes before the database gets its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from coffre.databases.postgresql.connection import Session, identifier, literal
from coffre.databases.postgresql.copy import copy_in, run_script
from coffre.databases.postgresql.readback import Expected
from coffre.errors import CoffreError, LockNotGrantedError, QueryFailedError
from coffre.vault.digest import MODULUS
from coffre.vault.parts import Relation, decode_record, encode_record

_TABLES = """
CREATE TABLE {schema}.facts (name text COLLATE "C" PRIMARY KEY, value text NOT NULL);
CREATE TABLE {schema}.loaded (part int, run int, rows bigint NOT NULL, PRIMARY KEY (part, run));
CREATE TABLE {schema}.expected (
    number int PRIMARY KEY, relation text NOT NULL, label text NOT NULL, rows bigint NOT NULL,
    digest text NOT NULL, generated text NOT NULL);
CREATE TABLE {schema}.compared (
    number int, page bigint, rows bigint NOT NULL, digest text NOT NULL, generated text NOT NULL,
    PRIMARY KEY (number, page));
CREATE TABLE {schema}.aside (number serial PRIMARY KEY, what text NOT NULL, finding text);
CREATE TABLE {schema}.built (entry int PRIMARY KEY, complaint text);
CREATE UNLOGGED TABLE {schema}.since AS SELECT now() AS begun;
"""

_UNLOGGED = """
SELECT DISTINCT n.nspname::text, c.relname::text
FROM pg_class u JOIN pg_class c ON c.oid IN (u.oid, pg_partition_root(u.oid))
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE u.relpersistence = 'u' AND u.relkind = 'r'
"""
_DUPLICATE = "23505"
_UNLIMITED = {
    "client_connection_check_interval": "0",
    "lock_timeout": "0",
    "restrict_nonsystem_relation_kind": "",
    "statement_timeout": "0",
    "transaction_timeout": "0",
}
EXCLUSIVE_SECONDS = 150
"""How long a step waits for the same step that may still run: its function's session ends when its network
is found dead, after two minutes."""


@dataclass(frozen=True)
class Compared:
    """What was read of a relation: the sums over its stretches of pages."""

    rows: int
    digest: int
    generated: int


@dataclass(frozen=True)
class Aside:
    """A CHECK constraint that was taken off; ``told`` is None until it is back."""

    number: int
    check: Mapping[str, str]
    told: str | None


class Notes:
    """The notes of one restore, through a session with the database that it fills.

    Parameters
    ----------
    attempt:
        The restore's own 12 hex digits.
    """

    def __init__(self, session: Session, attempt: str) -> None:
        self._session = session
        self.schema = notes_schema(attempt)
        self._in = identifier(self.schema)

    def exist(self) -> bool:
        """Whether the schema and its tables are there, whole."""
        found = f"SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = {literal(self.schema)})"
        return bool(self._session.value(found))

    def create(self, expected: Iterable[Expected], facts: Mapping[str, str] = MappingProxyType({})) -> None:
        """Make the tables, and note what will be compared, and facts; all of it or nothing."""
        session = self._session
        session.run("BEGIN")
        session.run(f"CREATE SCHEMA {self._in}")
        session.run(_TABLES.format(schema=self._in))
        lines = (_copied(number, one) for number, one in enumerate(expected))
        copy_in(session, f"COPY {self._in}.expected FROM STDIN", lines)
        for name, value in facts.items():
            self.note(name, value)
        session.run("COMMIT")

    def lost_rows(self) -> list[str]:
        """The tables whose rows are gone because the server crashed since: it empties what is unlogged.

        Source: https://www.postgresql.org/docs/current/sql-createtable.html (UNLOGGED)
        """
        if self._session.value(f"SELECT EXISTS (SELECT FROM {self._in}.since)"):
            return []
        unlogged = {tuple(place) for place in self._session.run(_UNLOGGED)}
        return [one.label for _, one in self.expected() if one.rows and one.place in unlogged]

    def drop(self) -> None:
        """Take all notes away: the restore needs them no more."""
        self._session.run(f"DROP SCHEMA IF EXISTS {self._in} CASCADE")

    # Facts

    def fact(self, name: str) -> str | None:
        """What was noted under a name."""
        value = self._session.value(f"SELECT value FROM {self._in}.facts WHERE name = {literal(name)}")
        return None if value is None else str(value)

    def note(self, name: str, value: str) -> None:
        """Note a fact, instead of what was noted under its name before."""
        self._session.run(
            f"INSERT INTO {self._in}.facts VALUES ({literal(name)}, {literal(_ascii(value))}) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        )

    # Rows

    def load_once(self, part: int, run: int, rows: int, load: Callable[[], object]) -> bool:
        """Load a run of chunks, in one transaction with its note.

        Returns
        -------
        bool
            False if it was loaded before.  Who loads the same run at this moment is waited for.

        Raises
        ------
        CoffreError
            What ``load`` raises; nothing of it stays.
        """
        session = self._session
        session.run("BEGIN")
        try:
            note = f"INSERT INTO {self._in}.loaded VALUES ({part}, {run}, {rows})"
            noted = session.run(f"{note} ON CONFLICT DO NOTHING RETURNING 1")
            if noted:
                load()
            session.run("COMMIT")
        except CoffreError:
            session.roll_back()
            raise
        return bool(noted)

    def loaded(self, part: int) -> set[int]:
        """The runs of a part that are in the database."""
        return {
            int(row[0]) for row in self._session.run(f"SELECT run FROM {self._in}.loaded WHERE part = {part}")
        }

    def loaded_in_all(self) -> tuple[int, int]:
        """How many runs and rows are in the database."""
        (row,) = self._session.run(f"SELECT count(*), coalesce(sum(rows), 0)::int8 FROM {self._in}.loaded")
        return int(row[0]), int(row[1])

    def put_aside(self, session: Session, check: Mapping[str, str]) -> None:
        """Note a CHECK constraint in the transaction of ``session`` that takes it off."""
        session.run(f"INSERT INTO {self._in}.aside (what) VALUES ({literal(json.dumps(dict(check)))})")

    def aside(self) -> list[Aside]:
        """The constraints that were taken off, in that order."""
        rows = self._session.run(f"SELECT number, what, finding FROM {self._in}.aside ORDER BY 1")
        return [Aside(int(number), json.loads(what), told) for number, what, told in rows]

    def tell(self, told: str) -> None:
        """Note what has to be told of rows that were loaded, as if it were of a constraint that is back."""
        what = literal("{}")
        self._session.run(
            f"INSERT INTO {self._in}.aside (what, finding) SELECT {what}, {literal(told)} "
            f"WHERE NOT EXISTS (SELECT FROM {self._in}.aside WHERE finding = {literal(told)})"
        )

    def tell_aside(self, number: int, told: str) -> None:
        """Note that a constraint is back, and what was said of it."""
        self._session.run(f"UPDATE {self._in}.aside SET finding = {literal(told)} WHERE number = {number}")

    # Content

    def expected(self, first: int = 0, end: int | None = None) -> Iterator[tuple[int, Expected]]:
        """What must be found, by its number, from ``first`` to before ``end``; in that order."""
        until = "" if end is None else f" AND number < {end}"
        columns = f"number, relation, label, rows, digest, generated FROM {self._in}.expected"
        while True:
            rows = self._session.run(f"SELECT {columns} WHERE number >= {first}{until} ORDER BY 1 LIMIT 1000")
            for number, relation, label, count, digest, generated in rows:
                yield (
                    int(number),
                    Expected(label, _relation(relation), int(count), int(digest, 16), generated),
                )
            if len(rows) < 1000:
                return
            first = int(rows[-1][0]) + 1

    def count_compared(self, first: int, end: int, page: int) -> int:
        """How many relations from ``first`` to before ``end`` were read from this page on."""
        where = f"number >= {first} AND number < {end} AND page = {page}"
        return int(self._session.value(f"SELECT count(*) FROM {self._in}.compared WHERE {where}"))

    def note_compared(self, number: int, page: int, rows: int, digest: str, generated: str) -> None:
        """Note what was read from a page on; what was noted first counts."""
        self._session.run(
            f"INSERT INTO {self._in}.compared VALUES ({number}, {page}, {rows}, {literal(digest)}, "
            f"{literal(generated)}) ON CONFLICT DO NOTHING"
        )

    def compared(self) -> dict[int, Compared]:
        """What was read, in all, of each relation."""
        found: dict[int, Compared] = {}
        rows = self._session.run(f"SELECT number, rows, digest, generated FROM {self._in}.compared")
        for number, count, digest, generated in rows:
            before = found.get(number, Compared(0, 0, 0))
            found[number] = Compared(
                before.rows + int(count),
                (before.digest + int(digest, 16)) % MODULUS,
                (before.generated + int(generated or "0", 16)) % MODULUS,
            )
        return found

    # What follows the rows

    def build_once(self, entry: int, script: bytes) -> bool:
        """Run what makes an entry of the archive, with its note, as one message to the server.

        The server does such a message to its end, and commits it, even when the client is gone meanwhile: an
        index may take longer than the life of a function.  Who tries again waits for it.

        Parameters
        ----------
        script:
            Statements as `SchemaArchive.script` gives them.

        Returns
        -------
        bool
            False if it was built before.

        Raises
        ------
        CoffreError
            What the server refused; nothing of it stays.
        """
        if self.is_built(entry):
            return False
        try:
            note = f"INSERT INTO {self._in}.built VALUES ({entry}, NULL);\n"
            run_script(self._session, note.encode() + script)
        except QueryFailedError as error:
            if error.sqlstate == _DUPLICATE and self.is_built(entry):
                return False
            raise
        return True

    def complain(self, entry: int, message: str) -> None:
        """Note that an entry can't be built, and why."""
        note = f"INSERT INTO {self._in}.built VALUES ({entry}, {literal(_ascii(message))})"
        self._session.run(f"{note} ON CONFLICT DO NOTHING")

    def is_built(self, entry: int) -> bool:
        """Whether an entry was built, or can't be."""
        return bool(self._session.value(f"SELECT 1 FROM {self._in}.built WHERE entry = {entry}"))

    def built(self) -> dict[int, str | None]:
        """The entries that were built, and what was said of those that can't be."""
        rows = self._session.run(f"SELECT entry, complaint FROM {self._in}.built")
        return {int(entry): complaint for entry, complaint in rows}


def notes_schema(attempt: str) -> str:
    """The schema's name: a database that holds it isn't whole."""
    return f"coffre_restoring_{attempt}"


def build_unlimited(session: Session) -> None:
    """Let what the session asks for go on when this process ends, and wait for others without a limit.

    It may read views, which sessions of ours don't otherwise: a materialized view is made of them.  A backend
    that computes doesn't look whether its client is still there, unless it is told to.
    Source: https://www.postgresql.org/docs/current/runtime-config-connection.html
    (client_connection_check_interval)
    """
    names = ", ".join(map(literal, _UNLIMITED))
    for (name,) in session.run(f"SELECT name FROM pg_catalog.pg_settings WHERE name IN ({names})"):
        session.run(f"SET {name} = {literal(_UNLIMITED[name])}")


def only_one(session: Session, attempt: str) -> None:
    """Let no other function do this restore's present step as long as the session lasts.

    Raises
    ------
    LockNotGrantedError
        Another one does it.
    """
    key = int(attempt, 16)
    session.run(f"SET lock_timeout = '{EXCLUSIVE_SECONDS}s'")
    try:
        session.run(f"SELECT pg_advisory_lock({key})")
    except LockNotGrantedError as error:
        raise LockNotGrantedError(f"another function does this step of the restore {attempt}") from error
    session.run("SET lock_timeout = '10s'")


def _copied(number: int, one: Expected) -> bytes:
    """A line of COPY text, in ASCII: the database may have any encoding."""
    line = json.dumps(json.loads(encode_record(one.relation)))
    fields = (str(number), line, _ascii(one.label), str(one.rows), f"{one.digest:032x}", one.generated)
    return "\t".join(map(_escaped, fields)).encode() + b"\n"


def _escaped(text: str) -> str:
    for found, written in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(found, written)
    return text


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def _relation(line: str) -> Relation:
    found = decode_record(line.encode())
    if not isinstance(found, Relation):
        raise TypeError("the notes hold relations")
    return found
