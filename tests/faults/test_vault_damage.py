"""What is damaged in the vault is found by verify, named by its key, and never restored (B02 to B05)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from coffre.catalogue.entries import Recheck
from coffre.databases.postgresql.server import EphemeralServer
from coffre.ids import stamp, utc_now
from coffre.vault.layout import Layout
from coffre.vault.parts import Chunk
from coffre.verify.recheck import SLICES
from tests.support.postgres import create, databases, url
from tests.support.stack import FunctionError, Stack

NAME = "damaged"
LAYOUT = Layout(NAME)


@dataclass(frozen=True)
class Vault:
    """One backup whose objects tests damage behind the store's back; each test puts back what it took."""

    stack: Stack
    server: EphemeralServer
    backup_id: str

    def key(self, what: str) -> str:
        """The key of one of the backup's objects, by what it is."""
        manifest = self.stack.manifest(NAME, self.backup_id)
        if what == "chunk":
            chunks = [r for r in self.stack.records(NAME, self.backup_id) if isinstance(r, Chunk)]
            return max(chunks, key=lambda chunk: chunk.bytes).key
        if what == "part":
            return max(manifest.parts, key=lambda part: part.bytes).key
        return manifest.refs[0].key if what == "refs" else manifest.files[0].key

    def read(self, key: str) -> bytes:
        return self.stack.store.read(key, limit=1 << 26)

    def replace(self, key: str, body: bytes | None) -> None:
        """Let a key have this body and no earlier version; None: let it vanish."""
        for version in list(self.stack.store.versions(key)):
            self.stack.store.delete_version(key, version.version)
        if body is not None:
            self.stack.s3.put_object(Bucket=self.stack.bucket, Key=key, Body=body)

    def verify(self) -> dict[str, Any]:
        return self.stack.call("verify", database=NAME, backup_id=self.backup_id)

    def recheck(self, key: str) -> list[dict[str, Any]]:
        """Read the slice again that a chunk is in, on the day of the period when it is due; the findings."""
        number = int(key.rpartition("/")[2][:2], 16)
        started = utc_now() - timedelta(days=number)
        self.stack.catalogue.record_recheck(Recheck(NAME, number, stamp(started)))
        answer = self.stack.call("verify", action="recheck", database=NAME, days=SLICES)
        (report,) = answer["reports"]
        assert report["slices_done"] == report["slices_due"] == number + 1
        return list(report["findings"])

    def restore(self) -> str:
        """Try to restore; the code of the error, after a look that nothing is left."""
        before = databases(self.server)
        with pytest.raises(FunctionError) as error:
            self.stack.restore(NAME, url(self.server, "from_damage"), backup=self.backup_id)
        assert databases(self.server) == before
        return error.value.code


@pytest.fixture(scope="module")
def made(stack: Stack, server: EphemeralServer) -> Iterator[Vault]:
    """A backup of two tables.  Manifests that tests write start no verification by themselves."""
    text = "CREATE TABLE {0} AS SELECT i AS id, md5(i::text || '{0}') AS body FROM generate_series(1, {1}) i"
    create(server, NAME, text.format("one", 20000), text.format("two", 3000))
    stack.register(NAME, url(server, NAME), prove="never")
    backup_id = stack.backup(NAME)["backup_id"]
    stack.drain()
    rule = f"{stack.info['stack']}-manifest-created"
    stack.client("events").disable_rule(Name=rule)
    yield Vault(stack, server, backup_id)
    stack.client("events").enable_rule(Name=rule)


@pytest.fixture
def vault(made: Vault) -> Iterator[Vault]:
    """The backup, whole before and after."""
    keys = [*made.stack.keys(LAYOUT.backup(made.backup_id)), *made.stack.keys(LAYOUT.chunks)]
    whole = {key: made.read(key) for key in keys}
    yield made
    for key, body in whole.items():
        info = made.stack.store.head(key)
        if info is None or made.read(key) != body:
            made.replace(key, body)


def flip(body: bytes) -> bytes:
    """One bit in the middle is another one."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0x10]) + body[middle + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": flip,
    "one byte short": lambda body: body[:-1],
    "half": lambda body: body[: len(body) // 2],
    "empty": lambda _: b"",
    "one byte more": lambda body: body + b"\0",
    "gone": lambda _: None,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_chunk_is_named_and_stops_a_restore(vault: Vault, damage: str) -> None:
    key = vault.key("chunk")
    vault.replace(key, DAMAGE[damage](vault.read(key)))
    answer = vault.verify()
    code = "object-missing" if damage == "gone" else "object-corrupt"
    assert answer["verdict"] == "failed"
    assert [(reason["code"], reason["object"]) for reason in answer["reasons"]] == [(code, key)]
    assert "(rows of public.one)" in answer["reasons"][0]["message"]
    entry = vault.stack.catalogue.backup(NAME, vault.backup_id)
    assert entry is not None
    assert entry.verdict == "failed"
    assert vault.stack.told(NAME, "Proof").type == "Proof Failed"
    if damage in ("flipped", "gone"):
        assert vault.restore() == code
        assert vault.stack.told(NAME, "Restore").type == "Restore Failed"


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_chunk_that_rots_later_is_found_when_it_is_read_again(vault: Vault, damage: str) -> None:
    assert vault.verify()["verdict"] == "inconclusive", "the policy says: prove never"
    key = vault.key("chunk")
    vault.replace(key, DAMAGE[damage](vault.read(key)))
    assert [finding["object"] for finding in vault.recheck(key)] == [key]
    entry = vault.stack.catalogue.backup(NAME, vault.backup_id)
    assert entry is not None
    assert (entry.verdict, [reason.object for reason in entry.reasons]) == ("failed", [key])


@pytest.mark.parametrize("what", ["part", "file", "refs"])
@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_every_other_damaged_object_is_named_too(vault: Vault, what: str, damage: str) -> None:
    key = vault.key(what)
    vault.replace(key, DAMAGE[damage](vault.read(key)))
    answer = vault.verify()
    assert answer["verdict"] == "failed"
    assert key in answer["reasons"][0]["message"]
    if what != "refs":  # a restore doesn't need those
        assert vault.restore() == ("object-missing" if damage == "gone" else "object-corrupt")


def test_two_chunks_that_were_swapped_are_both_named(vault: Vault) -> None:
    keys = sorted(vault.stack.keys(LAYOUT.chunks))[:2]
    bodies = [vault.read(key) for key in keys]
    for key, body in zip(keys, reversed(bodies), strict=True):
        vault.replace(key, body)
    answer = vault.verify()
    assert answer["verdict"] == "failed"
    assert {reason["object"] for reason in answer["reasons"]} == set(keys)


def test_a_newer_wrong_version_and_a_delete_marker_are_read_through(
    vault: Vault, server: EphemeralServer
) -> None:
    overwritten, hidden = sorted(vault.stack.keys(LAYOUT.chunks))[:2]
    vault.stack.s3.put_object(Bucket=vault.stack.bucket, Key=overwritten, Body=b"ransom")
    vault.stack.store.mark_deleted(hidden)
    vault.stack.register(NAME, url(server, NAME), prove="every")
    try:
        answer = vault.verify()
    finally:
        vault.stack.register(NAME, url(server, NAME), prove="never")
    assert (answer["reasons"], answer["verdict"]) == ([], "proven")
    assert vault.stack.restore(NAME, url(server, "read_through"), backup=vault.backup_id)["digests_equal"]


def edited(body: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(body), **changes}).encode()


MANIFESTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut": (lambda body: body[: len(body) // 2], "manifest-invalid"),
    "empty": (lambda _: b"", "manifest-invalid"),
    "a web page": (lambda _: b"<html>403</html>", "manifest-invalid"),
    "a list": (lambda _: b"[]", "manifest-invalid"),
    "nested without end": (lambda _: b"[" * 500_000, "manifest-invalid"),
    "huge": (lambda body: body + b" " * (2 << 20), "manifest-invalid"),
    "not UTF-8": (lambda body: body.replace(b"damaged", b"\xff\xfe", 1), "manifest-invalid"),
    "another database's": (lambda body: edited(body, database="other"), "manifest-invalid"),
    "with an unknown field": (lambda body: edited(body, surprise=1), "manifest-invalid"),
    "without a field": (lambda body: edited(body, parts=None), "manifest-invalid"),
    "with a negative number": (
        lambda body: body.replace(b'"rows": 23000', b'"rows": -1'),
        "manifest-invalid",
    ),
    "of an older format": (lambda body: edited(body, format=0), "format-unsupported"),
    "of a newer format": (lambda body: edited(body, format=2), "format-unsupported"),
    "with an unknown requirement": (
        lambda body: edited(body, requires=["postgresql", "time-travel"]),
        "format-unsupported",
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_that_cannot_be_trusted_is_refused(vault: Vault, case: str) -> None:
    change, code = MANIFESTS[case]
    key = LAYOUT.manifest(vault.backup_id)
    vault.replace(key, change(vault.read(key)))
    with pytest.raises(FunctionError) as verifying:
        vault.verify()
    assert verifying.value.code == code
    assert vault.restore() == code


def test_a_manifest_whose_numbers_were_edited_contradicts_its_parts(vault: Vault) -> None:
    key = LAYOUT.manifest(vault.backup_id)
    body = vault.read(key)
    assert body.count(b'"rows": 23000') == 1
    vault.replace(key, body.replace(b'"rows": 23000', b'"rows": 22999'))
    answer = vault.verify()
    assert answer["verdict"] == "failed"
    assert answer["reasons"][0]["code"] == "manifest-differs", "the catalogue knows its hash"
    assert vault.restore() == "manifest-invalid"


@pytest.mark.parametrize("what", ["manifest", "part"])
def test_a_damaged_newest_backup_does_not_stop_the_next_one(vault: Vault, what: str) -> None:
    key = LAYOUT.manifest(vault.backup_id) if what == "manifest" else vault.key("part")
    vault.replace(key, vault.read(key)[:-200])
    answer = vault.stack.backup(NAME)
    assert (answer["status"], answer["rows"], answer["new_chunks"]) == ("completed", 23000, 0)
    vault.replace(LAYOUT.manifest(answer["backup_id"]), None)
