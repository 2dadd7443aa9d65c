"""Large objects: found under the snapshot, made again in a restored database, filled with their pieces.

What is in them is read and stored as rows are (`coffre.databases.postgresql.statements.large_objects_to`):
pieces of `LARGE_OBJECT_PIECE` bytes, each a row with the object's number, the piece's number, and the bytes,
in the binary format.  An object without any has one empty piece.  Only superusers may read ``pg_largeobject``
itself, so all of it goes through the functions that everybody has.
Sources: https://www.postgresql.org/docs/current/lo-funcs.html,
https://www.postgresql.org/docs/current/catalog-pg-largeobject-metadata.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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

_SIZE = f"""
SELECT coalesce(sum(s.size + {OWN_BYTES}), 0)::bigint
FROM pg_largeobject_metadata m CROSS JOIN LATERAL {SIZE_OF_LARGE_OBJECT} s
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
SELECT ARRAY(SELECT place FROM edges ORDER BY place)
"""

_LABELLED = """
SELECT objoid::text FROM pg_seclabel WHERE classoid = 'pg_largeobject'::regclass ORDER BY objoid LIMIT 1000
"""

# Packed once, in the object; twice would cost time.
_PIECES = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS coffre_pieces (loid oid, piece bigint, data bytea)",
    "ALTER TABLE pg_temp.coffre_pieces ALTER COLUMN data SET STORAGE EXTERNAL",
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


def usual_step(size: int) -> int:
    """The bytes between two edges, for ``size`` bytes of objects: a power of two, so it seldom changes."""
    step = LEAST_STEP
    while step * STEPS < size and step < MOST_STEP:
        step *= 2
    return step


def read_edges(session: Session, step_of: Callable[[int], int] = usual_step) -> Edges:
    """Where objects may be divided: after some bytes on average.

    As with rows and chunks, an object stands at an edge if a hash, of its number, asks for it, which is the
    more likely the larger it is; an object above that is divided, too.  So an edge depends on one object
    only, and stays when others come and go.  Each is asked for its size, twice, in some microseconds.

    Parameters
    ----------
    step_of:
        After how many, for the bytes of all of them.
    """
    size = int(session.value(_SIZE))
    pieces = -(-step_of(size) // LARGE_OBJECT_PIECE)
    asked = _EDGES.format(
        own=OWN_BYTES,
        size_of=SIZE_OF_LARGE_OBJECT,
        step=pieces * LARGE_OBJECT_PIECE,
        bits=PLACE_BITS,
        pieces=pieces,
    )
    return Edges(size, tuple(session.value(asked) or ()))


def labelled(session: Session) -> list[str]:
    """The numbers of objects with security labels, which aren't kept."""
    return [row[0] for row in session.run(_LABELLED)]


def make(
    session: Session, groups: Iterable[LargeObjects], roles: Mapping[str, str], *, owned: bool = True
) -> None:
    """Make the objects, empty, with owners and comments; those that are there keep their bytes.

    Rights follow when all is filled and compared (`grant`): an owner may have taken his own away.

    Parameters
    ----------
    roles:
        Other roles than the recorded ones.
    owned:
        Whether owners are restored.  Otherwise all objects belong to the session's role.

    Raises
    ------
    ManifestInvalidError
        A record holds something else than numbers.
    CoffreError
        What the server said.  What was made by then stays, and is found again.
    """
    me = str(session.value("SELECT current_user"))
    for group, ids in _together(groups):
        owner = roles.get(group.owner, group.owner) if owned else me
        _run(session, _made(group, ids, "" if owner == me else owner))


def grant(session: Session, groups: Iterable[LargeObjects], roles: Mapping[str, str]) -> None:
    """Give the objects their recorded rights, for other roles where ``roles`` says so.

    Raises
    ------
    ManifestInvalidError
        A record holds something else than numbers and privileges.
    CoffreError
        What the server said.
    """
    for group, ids in _together(group for group in groups if group.grants is not None):
        _run(session, _granted(group, ids, roles))


def _together(groups: Iterable[LargeObjects]) -> Iterator[tuple[LargeObjects, list[str]]]:
    """Groups, with the numbers of as many objects as one transaction may lock."""
    for group in groups:
        ids = group.ids.split(",")
        if not all(number.isascii() and number.isdecimal() for number in ids):
            raise ManifestInvalidError("a record of large objects has something else among their numbers")
        for start in range(0, len(ids), TOGETHER):
            yield group, ids[start : start + TOGETHER]


def _run(session: Session, statements: Iterable[str]) -> None:
    run_script(session, "; ".join(statements).encode(session.python_encoding))


def _made(group: LargeObjects, ids: list[str], owner: str) -> Iterator[str]:
    """What makes some objects of a group."""
    yield (
        f"SELECT pg_catalog.lo_create(i) FROM pg_catalog.unnest('{{{','.join(ids)}}}'::oid[]) i "
        "WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = i)"
    )
    for number in ids:
        if owner:
            yield f"ALTER LARGE OBJECT {number} OWNER TO {identifier(owner)}"
        if group.comment is not None:
            yield f"COMMENT ON LARGE OBJECT {number} IS {literal(group.comment)}"


def _granted(group: LargeObjects, ids: list[str], roles: Mapping[str, str]) -> Iterator[str]:
    """What gives some objects of a group their rights."""
    numbers, owner = ", ".join(ids), identifier(roles.get(group.owner, group.owner))
    yield f"REVOKE ALL ON LARGE OBJECT {numbers} FROM PUBLIC, {owner}"
    for role, privilege in group.grants or ():
        what, option = _parsed(privilege)
        grantee = identifier(roles.get(role, role)) if role else "PUBLIC"
        yield f"GRANT {what} ON LARGE OBJECT {numbers} TO {grantee} {option}"


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
    session.run("TRUNCATE pg_temp.coffre_pieces")
    return count
