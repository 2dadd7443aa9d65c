"""Large objects are compressed where that makes them smaller, and come back as they were either way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.dump import dump_large_objects
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.snapshot import HeldSnapshot
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools
from coffre.errors import ToolFailedError
from tests.support.postgres import create, customer_server, sql, target

NOISE = "string_agg(sha256(convert_to(i || '/' || n, 'UTF8')), '')"
WORDS = "string_agg(convert_to('what is said again and again ', 'UTF8'), '')"
CONTENT = "SELECT oid::bigint, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1"
BYTES = "SELECT sum(length(lo_get(oid))) FROM pg_largeobject_metadata"


@pytest.fixture(scope="module")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[EphemeralServer]:
    with customer_server(postgres_root, 16, scratch_root) as made:
        yield made


def filled(server: EphemeralServer, name: str, content: str) -> Target:
    made = f"SELECT lo_from_bytea(0, {content}) FROM generate_series(1, 30) i, generate_series(1, 4000) n"
    return create(server, name, f"{made} GROUP BY i")


def dumped(postgres_root: Path, where: Target, out: Path) -> None:
    with HeldSnapshot(where, seconds=60, application="tests") as snapshot:
        deadline = time.monotonic() + 60
        dump_large_objects(Tools(postgres_root), 16, where, snapshot.id, out, deadline=deadline)


@pytest.mark.parametrize(("name", "content"), [("noise", NOISE), ("words", WORDS)])
def test_they_are_compressed_where_it_is_worth_it(
    server: EphemeralServer, postgres_root: Path, tmp_path: Path, name: str, content: str
) -> None:
    where = filled(server, name, content)
    dumped(postgres_root, where, tmp_path / "lobs")
    share = (tmp_path / "lobs").stat().st_size / int(sql(where, BYTES)[0][0])
    assert 1 < share < 1.01 if name == "noise" else share < 0.1

    copy = create(server, f"copy of {name}")
    command = ["--exit-on-error", str(tmp_path / "lobs")]
    Tools(postgres_root).run("pg_restore", 16, command, copy, deadline=time.monotonic() + 60)
    assert sql(copy, CONTENT) == sql(where, CONTENT)


def test_a_role_that_may_not_read_them_is_told_by_pg_dump(
    server: EphemeralServer, postgres_root: Path, tmp_path: Path
) -> None:
    filled(server, "closed", WORDS)
    sql(target(server, "closed"), "CREATE ROLE reader LOGIN")
    reader = Target(str(server.socket_dir), server.port, "reader", "closed", sslmode="disable")
    with pytest.raises(ToolFailedError, match="permission denied for large object"):
        dumped(postgres_root, reader, tmp_path / "lobs")
