"""Sealed backups: proven and restored as any other, and nothing of the source can be read in the bucket."""

from __future__ import annotations

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.vault.manifest import SEALED
from tests.support.postgres import create, dumped, sql, target, url
from tests.support.stack import Stack
from tests.support.vault import plain

MARK = "quetzal"
CONTENT = f"""
CREATE ROLE {MARK}_owner;
CREATE TABLE {MARK}_table (id serial PRIMARY KEY, body text CONSTRAINT {MARK}_check CHECK (body <> ''));
INSERT INTO {MARK}_table (body) SELECT '{MARK} ' || md5(n::text) FROM generate_series(1, 30000) n;
COMMENT ON TABLE {MARK}_table IS '{MARK} comment';
GRANT SELECT ON {MARK}_table TO {MARK}_owner;
SELECT lo_from_bytea(0, convert_to(repeat('{MARK} ', 100), 'UTF8'));
"""


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """The ARN of a KMS key."""
    return str(stack.client("kms").create_key()["KeyMetadata"]["Arn"])


@pytest.fixture(scope="module")
def source(stack: Stack, server16: EphemeralServer, key: str) -> Target:
    """A database that is sealed."""
    made = create(server16, f"{MARK}_database", CONTENT)
    stack.register("sealed", url(server16, made.database), seal_key=key)
    return made


def test_a_sealed_backup_is_proven_and_restored_and_tells_nothing(
    stack: Stack, server16: EphemeralServer, source: Target, postgres_root: object, key: str
) -> None:
    first = stack.backup("sealed", reason=f"before {MARK} goes")
    stack.drain()
    proof = stack.told("sealed", "Proof")
    assert (proof.detail["reasons"], proof.type) == ([], "Proof Passed")
    assert (proof.detail["rows"], proof.detail["compared"]["large_objects"]) == (30000, 1)
    manifest = stack.manifest("sealed")
    assert SEALED in manifest.requires
    assert manifest.seal is not None
    assert (manifest.seal.kms_key, manifest.seal.context.vault) == (key, stack.bucket)
    assert manifest.is_closed
    for name in stack.keys("sealed/"):
        assert MARK not in name
        for text in plain(stack.store.read(name, limit=1 << 26)):
            assert MARK.encode() not in text, name
    assert not [failure for failure in stack.failures() if "sealed" in failure["event"]]
    logs = [path.read_bytes() for path in stack.state.rglob("*.log")]
    secret = stack.seal_keys.unwrap(manifest.seal).secret
    assert logs
    assert not any(secret.hex().encode() in log or MARK.encode() in log for log in logs)
    again = stack.backup("sealed")
    assert (again["new_chunks"], again["rows"]) == (0, first["rows"])
    entry = stack.catalogue.backup("sealed", again["backup_id"])
    assert entry is not None
    assert key in str(entry.seal)
    where = stack.target(url(server16, "unsealed"))
    plan = stack.call("restore", action="plan", database="sealed", target_secret=where)
    assert [found["object"] for found in plan["findings"] if found["code"] == "sealed"] == [key]
    run = {"action": "run", "token": plan["token"], "database": "sealed", "target_secret": where}
    assert stack.call("restore", **run)["digests_equal"]
    restored = target(server16, "unsealed")
    assert dumped(postgres_root, restored) == dumped(postgres_root, source)
    visible = f"SELECT relallvisible > 1 FROM pg_class WHERE relname = '{MARK}_table'"
    assert sql(restored, visible) == [[True]], "no page is left to be written by who reads it first"
