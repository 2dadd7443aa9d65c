"""What of a schema could not be restored: each object named, with the number of rows that are against it.

A foreign key that rows violate is added as NOT VALID, so that it binds new rows, as it does at the source.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from coffre.databases.postgresql.complaints import Complaint
from coffre.databases.postgresql.connection import Session, literal
from coffre.databases.postgresql.schema import SchemaArchive
from coffre.databases.postgresql.set_aside import FIX
from coffre.errors import CoffreError
from coffre.readable import first_of
from coffre.results import Finding

SET_PATH = (
    "If a function finds its objects by the search path alone, give it one at the source: "
    "ALTER FUNCTION ... SET search_path = ..., and back up again."
)
"""Since CVE-2018-1058 PostgreSQL's own programs restore under an empty search path.
Source: https://wiki.postgresql.org/wiki/A_Guide_to_CVE-2018-1058:_Protect_Your_Search_Path"""

_CODES = {
    "CONSTRAINT": "exception-constraint",
    "CHECK CONSTRAINT": "exception-constraint",
    "FK CONSTRAINT": "exception-foreign-key",
    "INDEX": "exception-index",
    "MATERIALIZED VIEW DATA": "exception-materialized-view",
}

_NAMED = 5

KINDS = {
    "CONSTRAINT": ("constraints", "valid_indexes"),
    "CHECK CONSTRAINT": ("constraints",),
    "FK CONSTRAINT": ("constraints",),
    "INDEX": ("valid_indexes",),
    "MATERIALIZED VIEW DATA": ("populated_materialized_views",),
    "TRIGGER": ("triggers",),
    "POLICY": ("policies",),
}
"""What `count_objects` misses for each entry that wasn't restored."""

# The forms that pg_get_constraintdef and pg_get_indexdef write.
_NAME = r'(?:[^\s".();,]+|"(?:[^"]|"")*")'
TABLE = rf"{_NAME}\.{_NAME}"
_NAMES = rf"{_NAME}(?:, {_NAME})*"
_FOREIGN = re.compile(
    rf"^ALTER TABLE (?:ONLY )?({TABLE})\n +ADD CONSTRAINT {_NAME} "
    rf"FOREIGN KEY \(({_NAMES})\) REFERENCES ({TABLE})\(({_NAMES})\)[^;\n]*;$",
    re.MULTILINE,
)
_UNIQUE = re.compile(
    rf"^ALTER TABLE (?:ONLY )?({TABLE})\n +ADD CONSTRAINT {_NAME} "
    rf"(?:PRIMARY KEY|UNIQUE(?: NULLS NOT DISTINCT)?) \(({_NAMES})\)",
    re.MULTILINE,
)
_INDEX = re.compile(
    rf"^CREATE UNIQUE INDEX {_NAME} ON (?:ONLY )?({TABLE}) USING btree \(({_NAMES})\)"
    r"(?: NULLS NOT DISTINCT)?(?: WHERE (.+))?;$",
    re.MULTILINE,
)


@dataclass
class Exceptions:
    """What a database was restored without.

    Attributes
    ----------
    missing:
        How many objects of a kind are therefore not there; see `compare_objects`.
    """

    findings: list[Finding] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)

    def plus(self, other: Exceptions) -> Exceptions:
        """Both together."""
        return Exceptions([*self.findings, *other.findings], self.missing + other.missing)


def with_exceptions(findings: Iterable[Finding], backup_id: str) -> list[Finding]:
    """What says in one line that a backup restores with exceptions; nothing if there are none."""
    objects = [finding.object for finding in findings if finding.code.startswith("exception-")]
    if not objects:
        return []
    named = first_of(objects, _NAMED)
    return [
        Finding(
            level="refuse",
            code="restores-with-exceptions",
            object=backup_id,
            message=f"{backup_id} restores with exceptions: {named}",
            advice="All rows are there; a restore goes on without these if it is asked to.",
            count=len(objects),
        )
    ]


def explain(
    archive: SchemaArchive,
    complaints: Sequence[Complaint],
    open_as: Callable[[str], Session],
    session: Session,
) -> Exceptions:
    """Name the entries that weren't restored, and count the rows that are to blame.

    Parameters
    ----------
    open_as:
        Opens a session as the owner of a table: counting may run the owner's code.
    session:
        For what runs none: adding a foreign key as NOT VALID.
    """
    exceptions = Exceptions()
    scripts = archive.scripts((complaint.dump_id for complaint in complaints), session.python_encoding)
    for complaint in complaints:
        entry, statement = complaint.entry, scripts.get(complaint.dump_id, "")
        count = _count(statement, session, open_as)
        kept = entry.description == "FK CONSTRAINT" and add_not_valid(session, statement)
        if not kept:
            exceptions.missing.update(KINDS.get(entry.description, ()))
        rows = f"{count} rows are against it: " if count is not None else ""
        exceptions.findings.append(
            Finding(
                level="refuse",
                code=_CODES.get(entry.description, "exception-object"),
                object=f"{entry.description} {entry.name}",
                message=f"{entry.description} {entry.name} could not be restored: {rows}{complaint.message}",
                advice=FIX if count is not None else SET_PATH,
                count=count,
            )
        )
    return exceptions


def violations(statement: str) -> tuple[str, str] | None:
    """The table of a constraint or a unique index, and a query for the rows that violate it.

    Parameters
    ----------
    statement:
        As pg_dump writes it.

    Returns
    -------
    tuple or None
        None for anything else, and for an index over expressions.
    """
    foreign = _FOREIGN.search(statement)
    if foreign:
        table, columns, other, keys = foreign.groups()
        pairs = list(zip(_split(columns), _split(keys), strict=True))
        there = " AND ".join(f"c.{column} IS NOT NULL" for column, _ in pairs)
        equal = " AND ".join(f"p.{key} = c.{column}" for column, key in pairs)
        orphaned = f"{there} AND NOT EXISTS (SELECT FROM {other} p WHERE {equal})"
        return table, f"SELECT count(*) FROM {table} c WHERE {orphaned}"
    unique = _UNIQUE.search(statement) or _INDEX.search(statement)
    if unique is None:
        return None
    table, columns, *where = unique.groups()
    conditions = [f"{column} IS NOT NULL" for column in _split(columns)]
    conditions += [f"({clause})" for clause in where if clause]
    groups = (
        f"SELECT count(*) AS n FROM {table} WHERE {' AND '.join(conditions)} "
        f"GROUP BY {columns} HAVING count(*) > 1"
    )
    return table, f"SELECT coalesce(sum(n), 0) FROM ({groups}) AS shared"


def _split(names: str) -> list[str]:
    return re.findall(_NAME, names)


def _count(statement: str, session: Session, open_as: Callable[[str], Session]) -> int | None:
    """How many rows violate a constraint; None if that can't be found out."""
    found = violations(statement)
    if found is None:
        return None
    table, query = found
    try:
        owner = session.value(
            f"SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = {literal(table)}::regclass"
        )
        with open_as(str(owner)) as counting:
            return int(counting.value(query)) or None
    except CoffreError:
        return None


def add_not_valid(session: Session, statement: str) -> bool:
    """Add a foreign key that binds new rows only; False if the server won't, or it is something else."""
    found = _FOREIGN.search(statement)
    if found is None:
        return False
    try:
        session.run(f"{found[0].removesuffix(';')} NOT VALID")
    except CoffreError:
        return False
    return True
