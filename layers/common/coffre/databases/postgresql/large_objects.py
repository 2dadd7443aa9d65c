"""Large objects: found under the snapshot, made again in a restored database, filled with their pieces.

What is in them is read and stored as rows are (`coffre.databases.postgresql.statements.large_objects_to`):
pieces of `LARGE_OBJECT_PIECE` bytes, each a row with the object's number, the piece's number, and the bytes,
in the binary format.  An object without any has one empty piece.  Only superusers may read ``pg_largeobject``
itself, so all of it goes through the functions that everybody has.
Sources: https://www.postgresql.org/docs/current/lo-funcs.html,
https://www.postgresql.org/docs/current/catalog-pg-largeobject-metadata.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from coffre.databases.postgresql.connection import Session, identifier, literal
from coffre.databases.postgresql.copy import copy_in, run_script
from coffre.databases.postgresql.copy_binary import with_frame
from coffre.databases.postgresql.statements import LARGE_OBJECT_PIECE, PLACE_BITS, SIZE_OF_LARGE_OBJECT
from coffre.errors import ManifestInvalidError
from coffre.vault.parts import Column, LargeObjects, Relation

GROUP = 10_000
"""Objects in a record at most."""

TOGETHER = 500
"""Objects that one transaction makes: it keeps a lock on each whose owner or comment it sets."""

LEAST_STEP, MOST_STEP, STEPS = 4 << 20, 128 << 20, 32
"""Bytes of objects that one worker reads in one go: about a thirty-second of all, within these limits."""

OWN_BYTES = 64
"""What an object counts beside its bytes: an empty one takes time, too."""

# No rights at all are an empty array, which text makes one without a dimension: aclexplode refuses that.
_GROUPS = f"""
SELECT pg_get_userbyid(g.owner), g.rights, x.grantees, x.privileges, g.comment, g.ids
FROM (SELECT n.owner, n.rights, n.comment, min(n.id) AS first,
             string_agg(n.id::text, ',' ORDER BY n.id) AS ids
      FROM (SELECT m.oid AS id, m.lomowner AS owner, m.lomacl::text AS rights, d.description AS comment,
                   (row_number() OVER (ORDER BY m.oid) - 1) / {GROUP} AS number
            FROM pg_largeobject_metadata m
            LEFT JOIN pg_description d ON d.classoid = 'pg_largeobject'::regclass AND d.objoid = m.oid) n
      GROUP BY n.owner, n.rights, n.comment, n.number) g
CROSS JOIN LATERAL (
    SELECT array_agg(CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END
                     ORDER BY a.ordinality) AS grantees,
           array_agg(a.privilege_type || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
                     ORDER BY a.ordinality) AS privileges
    FROM aclexplode(nullif(g.rights, '{{}}')::aclitem[]) WITH ORDINALITY a) x
ORDER BY g.first
"""

_EDGES = """
WITH sized AS (
    SELECT m.oid::bigint AS id, s.size + {own} AS size,
           (hashoid(m.oid) & 2147483647)::float8 / 2147483648 AS hash
    FROM pg_largeobject_metadata m CROSS JOIN LATERAL {size_of} s
), edges AS (
    SELECT id << {bits} AS place FROM sized
    WHERE hash < size::float8 / {step} AND id > (SELECT min(id) FROM sized)
    UNION ALL
    SELECT id << {bits} | n * {pieces} FROM sized, generate_series(1, (size - {own} - 1) / {step}) n
)
SELECT (SELECT coalesce(sum(size), 0)::bigint FROM sized), ARRAY(SELECT place FROM edges ORDER BY place)
"""

_LABELLED = """
SELECT objoid::text FROM pg_seclabel WHERE classoid = 'pg_largeobject'::regclass ORDER BY objoid LIMIT 1000
"""

# Packed once, in the object; twice would cost time.
_PIECES = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS coffre_pieces (loid oid, piece bigint, data bytea)",
    "ALTER TABLE pg_temp.coffre_pieces ALTER COLUMN data SET STORAGE EXTERNAL",
    "TRUNCATE pg_temp.coffre_pieces",
)
_PUT = f"""
SELECT count(*) FILTER (WHERE pg_catalog.lo_put(loid, piece * {LARGE_OBJECT_PIECE}, data) IS NULL)
FROM pg_temp.coffre_pieces
"""


@dataclass(frozen=True)
class Edges:
    """Where the pieces of all objects may be divided.

    ``size`` is the bytes of all objects, ``places`` are positions of pieces (`PLACE_BITS`), ascending.
    """

    size: int
    places: tuple[int, ...]


def read_groups(session: Session) -> list[LargeObjects]:
    """All large objects by owner, rights and comment, in the order of their numbers."""
    found = []
    for owner, rights, grantees, privileges, comment, ids in session.run(_GROUPS):
        grants = tuple(zip(grantees or (), privileges or (), strict=True))
        found.append(LargeObjects(owner, ids, None if rights is None else grants, comment))
    return found


def relation_of_pieces(number: int) -> Relation:
    """The relation whose rows the pieces are; it belongs to nobody.

    Parameters
    ----------
    number:
        Its id in the backup.
    """
    columns = (Column("loid", "oid"), Column("piece", "bigint"), Column("data", "bytea"))
    return Relation(number, "large_objects", "pg_catalog", "pg_largeobject", "", columns)


def read_edges(session: Session, step: int | None = None) -> Edges:
    """Where objects may be divided: after ``step`` bytes on average.

    As with rows and chunks, an object stands at an edge if a hash, of its number, asks for it, which is the
    more likely the larger it is; an object above ``step`` is divided, too.  So an edge depends on one object
    only, and stays when others come and go.  Each is asked for its size, which takes some microseconds.

    Parameters
    ----------
    step:
        None: what suits their size.
    """
    if step is None:
        step = step_of(int(session.value("SELECT pg_relation_size('pg_catalog.pg_largeobject')")))
    pieces = -(-step // LARGE_OBJECT_PIECE)
    asked = _EDGES.format(
        own=OWN_BYTES,
        size_of=SIZE_OF_LARGE_OBJECT,
        step=pieces * LARGE_OBJECT_PIECE,
        bits=PLACE_BITS,
        pieces=pieces,
    )
    size, places = session.run(asked)[0]
    return Edges(int(size), tuple(places or ()))


def step_of(size: int) -> int:
    """The bytes between two edges, for ``size`` bytes of objects: a power of two, so it seldom changes."""
    step = LEAST_STEP
    while step * STEPS < size and step < MOST_STEP:
        step *= 2
    return step


def labelled(session: Session) -> list[str]:
    """The numbers of objects with security labels, which aren't kept."""
    return [row[0] for row in session.run(_LABELLED)]


def make(
    session: Session, groups: Iterable[LargeObjects], roles: Mapping[str, str], *, owned: bool = True
) -> None:
    """Make the objects, empty, with owners, rights and comments; those that are there keep their bytes.

    Parameters
    ----------
    roles:
        Other roles than the recorded ones.
    owned:
        Whether owners and rights are restored.  Otherwise all objects belong to the session's role.

    Raises
    ------
    ManifestInvalidError
        A record holds something else than numbers and privileges.
    CoffreError
        What the server said.  What was made by then stays, and is found again.
    """
    me = str(session.value("SELECT current_user"))
    for group in groups:
        ids = group.ids.split(",")
        if not all(number.isascii() and number.isdecimal() for number in ids):
            raise ManifestInvalidError("a record of large objects has something else among their numbers")
        for start in range(0, len(ids), TOGETHER):
            script = "; ".join(_statements(group, ids[start : start + TOGETHER], roles, me, owned=owned))
            run_script(session, script.encode(session.python_encoding, "surrogateescape"))


def _statements(
    group: LargeObjects, ids: list[str], roles: Mapping[str, str], me: str, *, owned: bool
) -> Iterator[str]:
    """What makes some objects of a group: all in one transaction."""
    numbers = ", ".join(ids)
    yield (
        f"SELECT pg_catalog.lo_create(i) FROM pg_catalog.unnest('{{{numbers}}}'::oid[]) i WHERE NOT EXISTS "
        "(SELECT FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = i)"
    )
    owner = roles.get(group.owner, group.owner)
    if owned and owner != me:
        for number in ids:
            yield f"ALTER LARGE OBJECT {number} OWNER TO {identifier(owner)}"
    if owned and group.grants is not None:
        yield f"REVOKE ALL ON LARGE OBJECT {numbers} FROM PUBLIC, {identifier(owner)}"
        for role, privilege in group.grants:
            what, option = _parsed(privilege)
            grantee = identifier(roles.get(role, role)) if role else "PUBLIC"
            yield f"GRANT {what} ON LARGE OBJECT {numbers} TO {grantee} {option}"
    if group.comment is not None:
        for number in ids:
            yield f"COMMENT ON LARGE OBJECT {number} IS {literal(group.comment)}"


def _parsed(privilege: str) -> tuple[str, str]:
    """A privilege and its option: the vault's words become part of a statement, so no others are taken."""
    what, _, option = privilege.partition(" ")
    if what not in ("SELECT", "UPDATE") or option not in ("", "WITH GRANT OPTION"):
        raise ManifestInvalidError(f"a record of large objects grants {privilege!r}")
    return what, option


def put(session: Session, blocks: Iterable[bytes | bytearray]) -> int:
    """Write pieces into objects that are there, by way of a temporary table.

    Parameters
    ----------
    blocks:
        Records of the binary format, in blocks of any size.

    Returns
    -------
    int
        How many pieces there were.

    Raises
    ------
    CoffreError
        What the server said.
    """
    for statement in _PIECES:
        session.run(statement)
    count = copy_in(session, "COPY pg_temp.coffre_pieces FROM STDIN (FORMAT binary)", with_frame(blocks))
    session.run(_PUT)
    return count
