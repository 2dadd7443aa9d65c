"""Large objects are read piece by piece, by everybody who may, and come back with what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from coffre.databases.postgresql.activity import size_on_disk
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.copy_binary import copy_out_binary
from coffre.databases.postgresql.large_objects import (
    MOST_STEP,
    grant,
    make,
    put,
    read_edges,
    read_groups,
    relation_of_pieces,
)
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.snapshot import HeldSnapshot, import_snapshot
from coffre.databases.postgresql.statements import LARGE_OBJECT_PIECE, Pages, copy_to
from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError
from coffre.vault.digest import Digest
from coffre.vault.parts import LargeObjects
from coffre.vault.rows import DigestSink, digest_records
from tests.support.postgres import create, customer_server, sql, target

SIZES = (0, 1, LARGE_OBJECT_PIECE - 1, LARGE_OBJECT_PIECE, LARGE_OBJECT_PIECE + 1, 5 * LARGE_OBJECT_PIECE + 7)
FILLED = [
    f"SELECT lo_from_bytea({4_000_000_000 + n}, convert_to(left(repeat('{n} ', {size}), {size}), 'UTF8'))"
    for n, size in enumerate(SIZES)
]
SPARSE = "SELECT lo_create(7); SELECT lo_put(7, 3000000, 'at the end of nothing')"
KEPT = """
CREATE ROLE keeper; CREATE ROLE "a reader"; CREATE ROLE unheard;
ALTER LARGE OBJECT 7 OWNER TO keeper;
GRANT SELECT ON LARGE OBJECT 7 TO "a reader" WITH GRANT OPTION; GRANT ALL ON LARGE OBJECT 7 TO PUBLIC;
REVOKE ALL ON LARGE OBJECT 4000000001 FROM customer;
COMMENT ON LARGE OBJECT 4000000002 IS E'it''s \\\\ a\\ncomment'
"""
CONTENT = "SELECT oid::bigint, md5(lo_get(oid)), length(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1"
BELONGING = """
SELECT m.oid::bigint, pg_get_userbyid(lomowner), obj_description(m.oid, 'pg_largeobject'), lomacl IS NULL,
       (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(lomacl) a)
FROM pg_largeobject_metadata m ORDER BY 1
"""


@pytest.fixture(scope="module")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    with customer_server(postgres_root, 16, scratch_root) as made:
        yield made


@pytest.fixture(scope="module")
def source(server: EphemeralServer) -> Target:
    return create(server, "source", *FILLED, SPARSE, KEPT)


class Records(DigestSink):
    """Keeps what the pump hands on."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[bytes] = []

    def record(self, record: bytes) -> None:
        super().record(record)
        self.held.append(record)


def read(session: Session, places: Pages | None = None) -> bytes:
    found, digest = Records(), Digest()
    count = copy_out_binary(session, copy_to(relation_of_pieces(1), places), found)
    assert count == len(found.held)
    assert digest_records(found.held, digest) == found.bytes
    assert (digest.rows, digest.value) == (count, found.digest.value)
    return b"".join(found.held)


def test_they_count_where_it_is_decided_whether_a_backup_fits_into_one_function(source: Target) -> None:
    with open_session(source, seconds=60) as session:
        assert size_on_disk(session) > 10 * 2048, "pages of 2 KiB, which the server packs"


@pytest.mark.parametrize("step", [LARGE_OBJECT_PIECE, 3 * LARGE_OBJECT_PIECE, 1 << 30])
def test_wherever_they_are_divided_each_piece_is_read_once_and_in_order(source: Target, step: int) -> None:
    with open_session(source, seconds=60) as session:
        session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        edges = read_edges(session, lambda _: step)
        assert len(edges.places) > 1 or step == 1 << 30
        parts = [read(session, places) for places in pairwise([0, *edges.places, None])]  # type: ignore[arg-type]
        assert b"".join(parts) == read(session)


def test_what_is_read_is_put_back_byte_by_byte(server: EphemeralServer, source: Target) -> None:
    again = create(server, "again")
    with open_session(source, seconds=60) as old, open_session(again, seconds=60) as new:
        make(new, read_groups(old), {})
        text = read(old)
        for _ in range(2):  # a try that was killed is done again
            blocks = (text[start : start + 100_001] for start in range(0, len(text), 100_001))
            assert put(new, blocks) == sum(
                1 + max(0, size - 1) // LARGE_OBJECT_PIECE for size in (*SIZES, 3_000_021)
            )
        grant(new, read_groups(old), {})
    assert sql(again, CONTENT) == sql(source, CONTENT)
    assert sql(again, BELONGING) == sql(source, BELONGING)


def test_they_are_read_as_they_were_under_the_snapshot(server: EphemeralServer) -> None:
    moving = create(
        server, "moving", "SELECT lo_from_bytea(n, 'before') FROM generate_series(20001, 20003) n"
    )
    with HeldSnapshot(moving, seconds=60, application="tests") as held:
        before = read(held.session)
        sql(moving, "SELECT lo_unlink(20001), lo_put(20002, 0, 'after!'), lo_from_bytea(20004, 'new')")
        with open_session(moving, seconds=60) as session:
            import_snapshot(session, held.id)
            assert read_edges(session).size > 3 * len("before")
            assert read(session) == before
    assert before.count(b"before") == 3


def test_making_them_again_changes_nothing(server: EphemeralServer, source: Target) -> None:
    twice = create(server, "twice")
    with open_session(source, seconds=60) as old, open_session(twice, seconds=60) as new:
        make(new, read_groups(old), {})
        new.run("SELECT lo_put(7, 0, 'content')")
        make(new, read_groups(old), {})
        for _ in range(2):
            grant(new, read_groups(old), {})
    assert sql(twice, BELONGING) == sql(source, BELONGING)
    assert sql(twice, "SELECT lo_get(7)")[0][0] == b"content"


def test_they_go_to_other_roles_or_to_whoever_restores_them(server: EphemeralServer, source: Target) -> None:
    with open_session(source, seconds=60) as old:
        groups = read_groups(old)
    others = {"keeper": "unheard", "a reader": "keeper"}
    for name, roles, owned in (("mapped", others, True), ("mine", {}, False)):
        where = create(server, name)
        with open_session(where, seconds=60) as session:
            make(session, groups, roles, owned=owned)
            if owned:
                grant(session, groups, roles)
    assert sql(target(server, "mapped"), BELONGING)[0] == [
        7,
        "unheard",
        None,
        False,
        "=rw/unheard keeper=r*/unheard unheard=rw/unheard",
    ]
    assert all((row[1], row[3]) == ("customer", True) for row in sql(target(server, "mine"), BELONGING))


def test_an_owner_who_is_no_superuser_reads_and_restores_them(server: EphemeralServer) -> None:
    plain = create(server, "plain", "CREATE ROLE plain LOGIN; CREATE ROLE other; GRANT other TO plain")
    role = Target(str(server.socket_dir), server.port, "plain", "plain", sslmode="disable")
    sql(plain, "SELECT lo_from_bytea(1, 'mine'); ALTER LARGE OBJECT 1 OWNER TO plain")
    sql(plain, "SELECT lo_from_bytea(2, 'theirs'); ALTER LARGE OBJECT 2 OWNER TO other")
    # Who restores it would not get into it any more, if it had its rights before its bytes.
    sql(plain, "REVOKE UPDATE ON LARGE OBJECT 2 FROM other")
    copy = create(server, "plain copy")
    with open_session(role, seconds=60) as old:
        text, groups = read(old), read_groups(old)
        assert read_edges(old).size > len("minetheirs")
    with open_session(replace(role, database=copy.database), seconds=60) as new:
        make(new, groups, {})
        put(new, [text])
        grant(new, groups, {})
    assert sql(copy, CONTENT) == sql(plain, CONTENT)
    assert sql(copy, BELONGING) == sql(plain, BELONGING)


def test_a_role_that_may_not_read_them_is_told(server: EphemeralServer, source: Target) -> None:
    sql(source, "CREATE ROLE stranger LOGIN")
    stranger = Target(str(server.socket_dir), server.port, "stranger", "source", sslmode="disable")
    for look in (read, read_edges):
        with (
            open_session(stranger, seconds=60) as session,
            pytest.raises(CoffreError, match="permission denied for large object"),
        ):
            look(session)


@pytest.mark.parametrize(
    "group",
    [
        LargeObjects("customer", "1", (("", "SELECT ON LARGE OBJECT 1 TO PUBLIC; DROP TABLE kept"),)),
        LargeObjects("customer", "1", (("", "SELECT WITH GRANT OPTION; DROP TABLE kept"),)),
        LargeObjects("customer", "1); DROP TABLE kept; SELECT (1"),
        LargeObjects('customer"; DROP TABLE kept', "1"),
        LargeObjects("customer", "1", None, "'; DROP TABLE kept; --\\"),
    ],
)
def test_nothing_in_a_record_gets_out_of_its_place(server: EphemeralServer, group: LargeObjects) -> None:
    name = f"planted {hash(group)}"
    planted = create(server, name, "CREATE TABLE kept (n int)")
    with open_session(planted, seconds=60) as session, suppress(CoffreError):
        session.run("SET search_path = public")
        make(session, [group], {})
        grant(session, [group], {})
    assert sql(planted, "SELECT count(*) FROM kept") == [[0]]


def test_a_large_object_with_holes_is_divided_by_its_length(server: EphemeralServer) -> None:
    sparse = create(server, "sparse", "SELECT lo_create(1); SELECT lo_put(1, 1::bigint << 40, 'the end')")
    with open_session(sparse, seconds=60) as session:
        edges = read_edges(session)
        assert edges.size > 1 << 40
        assert len(edges.places) == (1 << 40) // MOST_STEP
        assert read(session, (edges.places[-1], None)).endswith(b"the end")


def test_alike_ones_share_a_record(server: EphemeralServer) -> None:
    many = create(server, "many", "SELECT lo_create(20000 + i) FROM generate_series(1, 1200) i")
    with open_session(many, seconds=60) as session:
        ids = ",".join(str(20000 + i) for i in range(1, 1201))
        assert read_groups(session) == [LargeObjects("customer", ids)]
        copy = create(server, "many copy")
        with open_session(copy, seconds=60) as new:
            make(new, read_groups(session), {})
    assert sql(copy, "SELECT count(*) FROM pg_largeobject_metadata") == [[1200]]
