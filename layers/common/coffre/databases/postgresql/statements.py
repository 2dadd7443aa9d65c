"""The COPY statements for relations.  All of them name schema and columns, quoted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from coffre.databases.postgresql.connection import identifier, qualified
from coffre.vault.parts import Column, Relation

Pages = tuple[int, int | None]
"""A half-open range of heap pages; an open end reads to the end, however much the table grew meanwhile.
Of large objects: of the positions of their pieces, see `PLACE_BITS`."""

LARGE_OBJECT_PIECE = 1 << 18
"""Bytes of a large object in one row."""

PLACE_BITS = 24
"""The position of a large object's piece among those of all: the object's number, times 2 to this power, plus
the piece's.  An object has 4 TB at most, which are so many pieces."""

_LAST_OID = (1 << 32) - 1

SIZE_OF_LARGE_OBJECT = """(
    SELECT pg_catalog.lo_lseek64(f.fd, 0, 2) + 0 * pg_catalog.lo_close(f.fd) AS size
    FROM (SELECT pg_catalog.lo_open(m.oid, 262144) AS fd OFFSET 0) f OFFSET 0)"""
"""The size of the large object ``m.oid``: seeking to its end tells it to everybody who may read it."""


def ranges_from(starts: Sequence[int]) -> list[Pages]:
    """The ranges that begin at ``starts``, which ascend; each ends where the next one begins."""
    return list(zip(starts, [*starts[1:], None], strict=True))


def copy_to(relation: Relation, pages: Pages | None = None) -> str:
    """Read a relation's own rows, columns in the recorded order; only some pages if asked for."""
    if relation.kind == "large_objects":
        return large_objects_to(pages or (0, None))
    name = qualified(relation.schema, relation.name)
    if relation.condition is None and pages is None:
        return f"COPY {name}{_in_parentheses(relation.columns)} TO STDOUT"
    where = _page_condition(pages) if pages is not None else relation.condition
    return f"COPY (SELECT {_list(relation.columns)} FROM ONLY {name} {where}) TO STDOUT"


def large_objects_to(places: Pages) -> str:
    """Read the large objects' pieces between two positions, in their order, in the binary format."""
    first, after = places
    first_id, first_piece = divmod(first, 1 << PLACE_BITS)
    last_id, end_piece = divmod(after, 1 << PLACE_BITS) if after is not None else (_LAST_OID, 1 << PLACE_BITS)
    return f"""COPY (
SELECT m.oid, p.n, pg_catalog.lo_get(m.oid, p.n * {LARGE_OBJECT_PIECE}, {LARGE_OBJECT_PIECE})
FROM (SELECT oid FROM pg_catalog.pg_largeobject_metadata
      WHERE oid >= '{first_id}'::oid AND oid <= '{last_id}'::oid ORDER BY oid) m
CROSS JOIN LATERAL {SIZE_OF_LARGE_OBJECT} s
CROSS JOIN LATERAL pg_catalog.generate_series(
    CASE m.oid WHEN '{first_id}'::oid THEN {first_piece}::bigint ELSE 0 END,
    least(greatest(s.size - 1, 0) / {LARGE_OBJECT_PIECE},
          CASE m.oid WHEN '{last_id}'::oid THEN {end_piece - 1}::bigint ELSE s.size END)) p (n)
) TO STDOUT (FORMAT binary)"""


def copy_tree_to(relation: Relation, pages: Pages | None = None) -> str:
    """Read the whole partition tree that a leaf belongs to; only some pages of each leaf if asked for."""
    where = f" {_page_condition(pages)}" if pages is not None else ""
    return f"COPY (SELECT {_list(relation.columns)} FROM {_root(relation)}{where}) TO STDOUT"


def generated_to(relation: Relation, pages: Pages | None = None) -> str:
    """Read a relation's stored generated columns; the values as they are, nothing is computed."""
    where = f" {_page_condition(pages)}" if pages is not None else ""
    name = qualified(relation.schema, relation.name)
    return f"COPY (SELECT {_list(relation.generated)} FROM ONLY {name}{where}) TO STDOUT"


def generated_tree_to(relation: Relation, pages: Pages | None = None) -> str:
    """The same for the whole partition tree that a leaf belongs to."""
    where = f" {_page_condition(pages)}" if pages is not None else ""
    return f"COPY (SELECT {_list(relation.generated)} FROM {_root(relation)}{where}) TO STDOUT"


def copy_from(relation: Relation, *, frozen: bool = False) -> str:
    """Load a relation's rows, through the root of its partition tree where the leaf asks for that.

    Parameters
    ----------
    frozen:
        As vacuum would leave them; only for a table that the transaction has made or emptied.
    """
    name = _root(relation) if relation.load == "root" else qualified(relation.schema, relation.name)
    return f"COPY {name}{_in_parentheses(relation.columns)} FROM STDIN{' (FREEZE)' if frozen else ''}"


def _root(relation: Relation) -> str:
    if relation.root_schema is None or relation.root_name is None:
        raise ValueError(f"{relation.label} has no root")
    return qualified(relation.root_schema, relation.root_name)


def _page_condition(pages: Pages) -> str:
    first, after = pages
    upper = f" AND ctid < '({after},0)'::tid" if after is not None else ""
    return f"WHERE ctid >= '({first},0)'::tid{upper}"


def _list(columns: Iterable[Column]) -> str:
    return ", ".join(identifier(column.name) for column in columns)


def _in_parentheses(columns: tuple[Column, ...]) -> str:
    """A COPY's column list; a table without columns has none."""
    return f" ({_list(columns)})" if columns else ""
