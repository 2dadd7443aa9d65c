"""A bit flips in the store: it is found, rotate puts the chunk aside, the next backup stores it afresh."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from coffre.vault.parts import Chunk
from tests.support.postgres import create, sql, url
from tests.support.stack import FunctionError, Stack

TABLE = "CREATE TABLE t AS SELECT i AS id, md5(i::text) AS body FROM generate_series(1, 5000) i"


def damage(stack: Stack, key: str, change: Callable[[bytes], bytes]) -> None:
    """Change an object's bytes behind everybody's back."""
    body = stack.store.read(key, limit=1 << 26)
    for version in list(stack.store.versions(key)):
        stack.store.delete_version(key, version.version)
    stack.s3.put_object(Bucket=stack.bucket, Key=key, Body=change(body))


def flip(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0x10]) + body[middle + 1 :]


def verdict(stack: Stack, name: str, backup_id: str) -> str | None:
    entry = stack.catalogue.backup(name, backup_id)
    assert entry is not None
    return entry.verdict


@pytest.mark.parametrize("found_by", ["verify", "backup"])
def test_a_flipped_bit_is_found_put_aside_and_healed(
    stack: Stack, server16: EphemeralServer, found_by: str
) -> None:
    name = f"rot-{found_by}"
    made = create(server16, f"rot_{found_by}", TABLE)
    stack.register(name, url(server16, made.database))
    old = stack.backup(name)["backup_id"]
    stack.drain()
    sql(made, "CREATE TABLE more AS SELECT 1 AS one")
    second = stack.backup(name)["backup_id"]
    stack.drain()
    assert verdict(stack, name, old) == verdict(stack, name, second) == "proven"
    chunks = [r for r in stack.records(name, old) if isinstance(r, Chunk)]
    key = max(chunks, key=lambda chunk: chunk.bytes).key
    damage(stack, key, flip)

    if found_by == "verify":
        answer = stack.call("verify", database=name, backup_id=second)
        assert [(r["code"], r["object"]) for r in answer["reasons"]] == [("object-corrupt", key)]
    else:
        with pytest.raises(FunctionError) as refused:
            stack.backup(name)
        assert refused.value.code == "chunk-damaged"
        assert key in str(refused.value)
        assert stack.lease_is_free(name)

    (dry,) = stack.call("rotate", database=name, dry_run=True)["reports"]
    assert stack.store.head(key) is not None
    (report,) = stack.call("rotate", database=name)["reports"]
    assert {**report, "dry_run": True} == dry
    assert report["quarantined_chunks"] == 1
    doubted = [old] if found_by == "verify" else sorted([old, second])
    assert report["doubted"] == doubted
    assert stack.store.head(key) is None
    assert verdict(stack, name, old) == "inconclusive"

    third = stack.backup(name)
    assert third["new_chunks"] == 1
    stack.drain()
    assert verdict(stack, name, third["backup_id"]) == "proven"
    assert verdict(stack, name, old) == "inconclusive", "a proof takes it back, nothing else"
    assert not [failure for failure in stack.failures() if name in failure["event"]]
    if found_by == "backup":
        return
    for backup_id in (old, second):
        assert stack.call("verify", database=name, backup_id=backup_id)["verdict"] == "proven"
        assert verdict(stack, name, backup_id) == "proven"
    assert stack.restore(name, url(server16, f"healed_{found_by}"), backup=old)["digests_equal"]
    (report,) = stack.call("rotate", database=name)["reports"]
    assert (report["quarantined_chunks"], report["doubted"]) == (0, [])
    held = stack.call("rotate", action="hold", database=name, backup_id=old, reason="audit")
    assert "(audit)" in held["holds"][0]
    (report,) = stack.call("rotate", database=name, dry_run=True)["reports"]
    (reasons,) = [d["reasons"] for d in report["decisions"] if d["backup_id"] == old]
    assert any(reason.startswith("held: hold") for reason in reasons)
    assert stack.call("rotate", action="release", database=name, backup_id=old)["holds"] == []
