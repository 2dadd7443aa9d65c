"""CHECK constraints that stand in the way of rows: set aside for the load, put back, and named if they fail.

PostgreSQL checks a constraint when a row is written, never again: when the function behind it changes, or
reads another table, the rows at the source may violate it, and no dump of them loads.  So the checks of a
table whose rows were refused are dropped, the rows loaded, and the checks added again.  One that the rows
violate comes back as NOT VALID, which is what the source has in truth: it binds new rows only.

Everything runs in sessions of the tables' and domains' owners, because it runs their code.
Source: https://www.postgresql.org/docs/current/sql-altertable.html (NOT VALID)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from coffre.databases.postgresql.absent import AbsentRows, reading
from coffre.databases.postgresql.connection import Session, identifier, literal, qualified
from coffre.databases.postgresql.notes import Notes
from coffre.errors import CoffreError
from coffre.results import Finding
from coffre.vault.parts import Relation

FIX = "Correct the rows at the source, or drop the constraint there; then back up again."

# What is inherited goes with its parent's.  What belongs to an extension or to the server stays as it is.
_TABLE_CHECKS = """
WITH RECURSIVE up (oid) AS (
    SELECT {table}::regclass::oid
    UNION SELECT i.inhparent FROM pg_inherits i JOIN up ON i.inhrelid = up.oid
)
SELECT n.nspname, c.relname, pg_get_userbyid(c.relowner), k.conname, pg_get_constraintdef(k.oid),
       pg_get_expr(k.conbin, k.conrelid)
FROM up JOIN pg_constraint k ON k.conrelid = up.oid JOIN pg_class c ON c.oid = up.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'c' AND k.coninhcount = 0
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY k.oid
"""

# Domains that a column's type is made of, through arrays, composite types and other domains.
_DOMAIN_CHECKS = """
WITH RECURSIVE used (oid) AS (
    SELECT atttypid FROM pg_attribute WHERE attrelid = {table}::regclass AND attnum > 0 AND NOT attisdropped
    UNION
    SELECT x.oid FROM used JOIN pg_type t ON t.oid = used.oid CROSS JOIN LATERAL (
        SELECT t.typelem UNION SELECT t.typbasetype
        UNION SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = t.typrelid AND t.typrelid <> 0
              AND a.attnum > 0 AND NOT a.attisdropped) x (oid)
    WHERE x.oid <> 0
)
SELECT n.nspname, t.typname, pg_get_userbyid(t.typowner), k.conname, pg_get_constraintdef(k.oid), ''
FROM used JOIN pg_type t ON t.oid = used.oid JOIN pg_namespace n ON n.oid = t.typnamespace
JOIN pg_constraint k ON k.contypid = t.oid AND k.contype = 'c'
WHERE left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
ORDER BY k.oid
"""

_COLUMNS_OF_DOMAIN = """
SELECT n.nspname, c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.atttypid = {domain}::regtype AND c.relkind = 'r' AND NOT a.attisdropped
"""


@dataclass(frozen=True)
class _Check:
    """One constraint that was set aside: of a ``TABLE`` or a ``DOMAIN``."""

    on: str
    schema: str
    name: str
    owner: str
    constraint: str
    definition: str
    expression: str

    @property
    def subject(self) -> str:
        return f"{self.on} {qualified(self.schema, self.name)}"

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}: {self.constraint}"


class SetAsideChecks:
    """The CHECK constraints that were taken off.

    Parameters
    ----------
    open_as:
        Opens a session as a role; it may be another one that has the role's rights.
    keep:
        Called with a check and the session whose transaction takes it off, for whoever has to remember it.
    """

    def __init__(
        self,
        open_as: Callable[[str], Session],
        keep: Callable[[Session, Mapping[str, str]], None] | None = None,
    ) -> None:
        self._open_as = open_as
        self._keep = keep
        self._checks: list[_Check] = []

    def take_off(self, relations: Iterable[Relation]) -> int:
        """Drop the checks of these tables, of their parents, and of the domains of their columns.

        Returns
        -------
        int
            How many there were.
        """
        for relation in relations:
            name = qualified(relation.schema, relation.name)
            if relation.load == "root":
                name = qualified(str(relation.root_schema), str(relation.root_name))
            with self._open_as(relation.owner) as session:
                # A child's own copy of a parent's constraint shows when the parent's is gone.
                while found := self._list(session, name):
                    self._drop(found)
        return len(self._checks)

    def _list(self, session: Session, table: str) -> list[_Check]:
        tables = session.run(_TABLE_CHECKS.format(table=literal(table)))
        domains = session.run(_DOMAIN_CHECKS.format(table=literal(table)))
        return [_Check("TABLE", *row) for row in tables] + [_Check("DOMAIN", *row) for row in domains]

    def _drop(self, checks: Iterable[_Check]) -> None:
        for check in checks:
            with self._open_as(check.owner) as session:
                session.run("BEGIN")
                if self._keep is not None:
                    self._keep(session, asdict(check))
                session.run(f"ALTER {check.subject} DROP CONSTRAINT IF EXISTS {identifier(check.constraint)}")
                session.run("COMMIT")
            self._checks.append(check)

    def put_back(self, absent: AbsentRows | None = None) -> list[Finding]:
        """Add all of them again; those that the rows violate are named, with the number of such rows.

        Parameters
        ----------
        absent:
            Rows that aren't there: what a check needs of them is no reproach.
        """
        findings = []
        for check in self._checks:
            with self._open_as(check.owner) as session:
                finding = _put_back(session, check, absent)
            findings += [finding] if finding else []
        self._checks = []
        return findings


def put_back_noted(session: Session, notes: Notes) -> list[Finding]:
    """Add the checks again that a restore's notes remember, each once, and note what came of it.

    One may be back already, if who did that was killed.

    Returns
    -------
    list of Finding
        As `SetAsideChecks.put_back` gives them, those of earlier calls included.
    """
    findings = []
    for aside in notes.aside():
        told = aside.told
        if told is None:
            finding = _put_back(session, _Check(**aside.check), None, again=True)
            # ASCII, whatever the database's encoding
            told = "" if finding is None else json.dumps(finding.model_dump())
            notes.tell_aside(aside.number, told)
        findings += [Finding.model_validate_json(told)] if told else []
    return findings


def _put_back(
    session: Session, check: _Check, absent: AbsentRows | None, *, again: bool = False
) -> Finding | None:
    name = identifier(check.constraint)
    validated = _validated(session, check) if again or check.on == "TABLE" else None
    if validated is not None:  # a parent's came back already, or this one before who did it was killed
        return None if validated or not again else _violated(check, _violations(session, check), "not valid")
    add = f"ALTER {check.subject} ADD CONSTRAINT {name} {check.definition}"
    try:
        session.run(add)
    except CoffreError as error:
        read = absent.attempt(session, add).read if absent is not None else ()
        count, said = _violations(session, check), error.message
    else:
        return None
    try:
        session.run(f"{add} NOT VALID")
    except CoffreError as error:
        said = f"{error.message}; it was left out"
    return _unproven(check, read) if read else _violated(check, count, said)


def _violated(check: _Check, count: int | None, said: str) -> Finding:
    rows = f"{count} rows violate it" if count is not None else "rows violate it, or it can't be computed"
    return Finding(
        level="refuse",
        code=f"exception-{'check' if check.on == 'TABLE' else 'domain'}",
        object=check.label,
        message=f"the constraint {check.constraint} of {check.schema}.{check.name}: {rows} ({said})",
        advice=FIX,
        count=count,
    )


def _unproven(check: _Check, read: Sequence[str]) -> Finding:
    return Finding(
        level="warn",
        code="unproven-constraint",
        object=check.label,
        message=f"the constraint {check.constraint} of {check.schema}.{check.name} can't be checked: "
        f"{reading(read)}",
    )


def _validated(session: Session, check: _Check) -> bool | None:
    """Whether the constraint is valid; None if there is none."""
    name = literal(qualified(check.schema, check.name))
    of = f"conrelid = {name}::regclass" if check.on == "TABLE" else f"contypid = {name}::regtype"
    named = f"conname = {literal(check.constraint)}"
    value = session.value(f"SELECT convalidated FROM pg_constraint WHERE {of} AND {named}")
    return None if value is None else bool(value)


def _violations(session: Session, check: _Check) -> int | None:
    """How many rows violate a check; None if that can't be computed (values in arrays aren't looked at)."""
    try:
        if check.on == "TABLE":
            table = qualified(check.schema, check.name)
            query = f"SELECT count(*) FROM {table} WHERE NOT ({check.expression})"
            return int(session.value(query)) or None
        return (_domain_violations(session, check) or None) if session.major >= 16 else None
    except CoffreError:
        return None


def _domain_violations(session: Session, check: _Check) -> int:
    """Values of columns of the domain that it refuses (the constraint is put on and off again for that)."""
    domain = qualified(check.schema, check.name)
    columns = session.run(_COLUMNS_OF_DOMAIN.format(domain=literal(domain)))
    name = identifier(check.constraint)
    session.run(f"ALTER DOMAIN {domain} ADD CONSTRAINT {name} {check.definition} NOT VALID")
    try:
        count = 0
        for schema, table, column in columns:
            value = f"{identifier(column)}::text"
            count += int(
                session.value(
                    f"SELECT count(*) FROM ONLY {qualified(schema, table)} "
                    f"WHERE NOT pg_input_is_valid({value}, {literal(domain)})"
                )
            )
    finally:
        session.run(f"ALTER DOMAIN {domain} DROP CONSTRAINT {name}")
    return count
