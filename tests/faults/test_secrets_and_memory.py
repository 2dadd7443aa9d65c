"""What must stay small: where a password is seen, and how much memory a huge value takes (B17)."""

from __future__ import annotations

import itertools
from urllib.parse import quote

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from tests.support.postgres import create, sql, target, url
from tests.support.stack import FunctionError, Stack
from tests.support.watch import Processes

PASSWORD = "s3cret:w@rd/é 'x' %41"
LIMIT_KIB = 256 << 10
HUGE_MIB = 100
VIEWS = 500
"""So that the tools run long enough to be seen, on most machines the first time."""


def test_a_password_is_seen_nowhere(stack: Stack, server: EphemeralServer) -> None:
    made = create(server, "secretive", "CREATE TABLE t AS SELECT 1 AS id")
    sql(made, "".join(f"CREATE VIEW v{n} AS SELECT {n} AS n; " for n in range(VIEWS)))
    with_password = f"&password={quote(PASSWORD, safe='')}"
    stack.register("secretive", url(server, "secretive") + with_password)
    messages, numbers, ours = [], itertools.count(1), "PGDATABASE=secretive"
    with Processes("COFFRE_BUCKET=") as processes:
        while not processes.saw("pg_dump", ours):
            stack.backup("secretive")
        stack.drain()
        while not processes.saw("pg_restore", ours):
            stack.restore("secretive", url(server, f"secretive_{next(numbers)}") + with_password)
        for wrong in (url(server, "no such database"), url(server, "secretive", user="no such user")):
            stack.register("secretive", wrong + with_password)
            with pytest.raises(FunctionError) as refused:
                stack.backup("secretive")
            messages.append(str(refused.value))
    documents = [key for key in stack.keys("secretive/") if key.endswith((".json", ".sql"))]
    places = {
        "command lines and environments": "\n".join(processes.seen),
        "logs": "".join(path.read_text() for path in (stack.state / "logs").glob("*.log")),
        "events": repr(stack.events("secretive")),
        "catalogue": repr(stack.client("dynamodb").scan(TableName=stack.info["table"])["Items"]),
        "manifests, roles and evidence": "".join(stack.store.get(key).read().decode() for key in documents),
        "errors": "\n".join(messages),
    }
    for place, text in places.items():
        assert text, place
        for form in (PASSWORD, quote(PASSWORD, safe=""), "s3cret"):
            assert form not in text, place


def test_a_value_of_100_mb_keeps_every_process_below_256_mib(stack: Stack, server: EphemeralServer) -> None:
    made = create(server, "huge", "CREATE TABLE t (id int, body text)")
    sql(
        made,
        f"INSERT INTO t SELECT 1, string_agg(md5(i::text), '') FROM generate_series(1, {HUGE_MIB << 15}) i",
    )
    stack.register("huge", url(server, "huge"))
    with Processes("COFFRE_BUCKET=") as processes:
        assert stack.backup("huge")["bytes"] > HUGE_MIB << 20
        stack.drain()
        assert stack.told("huge", "Proof").type == "Proof Passed"
        stack.restore("huge", url(server, "huge_restored"))
    lengths = sql(target(server, "huge_restored"), "SELECT length(body) FROM t")
    assert lengths == [[HUGE_MIB << 20]]
    assert len(processes.peaks) >= 5, "functions and their workers were seen"
    assert max(processes.peaks.values()) < LIMIT_KIB, processes.peaks
