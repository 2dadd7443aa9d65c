"""A second vault: its completeness is told as it is, and restores work from it when the first one is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import localcloud
from coffre.catalogue.index import Catalogue
from coffre.catalogue.rebuild import rebuild
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.registration import Registration, encode
from coffre.vault.layout import Layout
from coffre.vault.parts import Chunk
from coffre.vault.reader import load_manifest, read_part
from coffre.vault.store import ObjectStore
from tests.conftest import ROOT
from tests.support.postgres import create, databases, sql, target, url
from tests.support.stack import FunctionError, Stack
from tests.support.waiting import PATIENCE_SECONDS

NAME, SECOND = "copied", "second-vault"
PARAMETERS = {
    "CopyBucketArn": f"arn:aws:s3:::{SECOND}",
    "CopyRegion": "us-east-1",
    "CopyKmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/second",
}
CONTENT = "CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS what FROM generate_series(1, 5000) n"
QUESTION = "SELECT count(*), sum(id), md5(string_agg(what, ',' ORDER BY id)) FROM orders"


class First:
    """The first stack, with one database and one backup that nothing was copied of yet."""

    def __init__(self, cloud: localcloud.LocalCloud, server: EphemeralServer) -> None:
        self.cloud = cloud
        self.s3 = cloud.client("s3")
        self.s3.create_bucket(Bucket=SECOND)
        self.s3.put_bucket_versioning(Bucket=SECOND, VersioningConfiguration={"Status": "Enabled"})
        self.vault = ObjectStore(self.s3, str(cloud.bucket))
        self.copy = ObjectStore(self.s3, SECOND)
        self.catalogue = Catalogue(cloud.client("dynamodb"), str(cloud.table))
        self.source = create(server, "copied", CONTENT)
        self._put_secret(f"coffre/{cloud.stack}/databases/{NAME}", url(server, "copied"))
        text = encode(Registration(secret=f"coffre/{cloud.stack}/databases/{NAME}"), name=NAME)
        path = f"/coffre/{cloud.stack}/databases/{NAME}"
        cloud.client("ssm").put_parameter(Name=path, Value=text, Type="String")
        time = "2026-11-02T03:00:00Z"
        self.backup_id = self.call("backup", type="daily", scheduled_time=time, database=NAME)["backup_id"]
        assert cloud.drain(PATIENCE_SECONDS)

    def call(self, verb: str, **event: Any) -> dict[str, Any]:
        """Invoke a function and wait for its answer."""
        answer = self.cloud.client("lambda").invoke(
            FunctionName=f"{self.cloud.stack}-{verb}", Payload=json.dumps(event)
        )
        content: dict[str, Any] = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise FunctionError(str(content.get("errorType")), str(content.get("errorMessage")))
        return content

    def check(self, **more: Any) -> dict[str, Any]:
        """Check the copy."""
        (found,) = self.call("verify", action="copy", database=NAME, backup_id=self.backup_id, **more)[
            "copies"
        ]
        return dict(found)

    def restore(self, where: str, **event: Any) -> dict[str, Any]:
        """Plan and run a restore."""
        secret = f"coffre/{self.cloud.stack}/targets/{where.rpartition('/')[2]}"
        self._put_secret(secret, where)
        request = {"database": NAME, "target_secret": secret, "source": "copy", **event}
        token = self.call("restore", action="plan", **request)["token"]
        return self.call("restore", action="run", token=token, **request)

    def health(self) -> list[str]:
        """The codes of what health says."""
        (report,) = self.call("health", database=NAME)["databases"]
        return [reason["code"] for reason in report["reasons"]]

    def chunks(self) -> list[str]:
        """The keys of the backup's chunks."""
        manifest, _ = load_manifest(self.vault, NAME, self.backup_id)
        found = [
            r.key for part in manifest.parts for r in read_part(self.vault, part) if isinstance(r, Chunk)
        ]
        return sorted(set(found))

    def _put_secret(self, name: str, where: str) -> None:
        content = json.dumps({"url": where})
        self.cloud.client("secretsmanager").create_secret(Name=name, SecretString=content)


@pytest.fixture(scope="module")
def first(server16: EphemeralServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[First]:
    """The first stack; the tests of this module let its copy arrive, in their order."""
    with localcloud.up(
        ROOT / "template.yaml", state=tmp_path_factory.mktemp("first"), parameters=PARAMETERS
    ) as cloud:
        yield First(cloud, server16)


def wipe(store: ObjectStore, prefix: str = "") -> None:
    """Delete every version and marker."""
    for version in list(store.versions(prefix)):
        store.delete_version(version.key, version.version)


def test_a_manifest_that_arrives_before_its_chunks_is_pending(
    first: First, server16: EphemeralServer
) -> None:
    nothing = first.check()
    assert (nothing["verdict"], nothing["lacking"]) == ("pending", 0)
    assert "copy-overdue" in first.health()
    manifest = Layout(NAME).manifest(first.backup_id)
    assert first.cloud.replicate(lambda key: key == manifest) == 1

    found = first.check()

    assert (found["verdict"], found["lacking"]) == ("pending", 0)
    assert found["pending"] == nothing["pending"] - 1 == found["objects"] - 1
    assert {reason["code"] for reason in found["reasons"]} == {"copy-pending"}
    entry = first.catalogue.backup(NAME, first.backup_id)
    assert entry is not None
    assert (entry.copy, entry.copy_summary) == ("pending", f"pending: {found['pending']} objects")
    with pytest.raises(FunctionError) as refused:
        first.restore(url(server16, "too_early"))
    assert refused.value.code in ("copy-incomplete", "object-missing")
    assert "too_early" not in databases(server16)


def test_a_copy_is_complete_when_everything_is_there(first: First) -> None:
    first.cloud.replicate()
    first.cloud.fire(f"{first.cloud.stack}-copies")
    assert first.cloud.drain(PATIENCE_SECONDS)
    assert first.cloud.failures == []

    entry = first.catalogue.backup(NAME, first.backup_id)

    assert entry is not None
    assert entry.copy == "complete"
    assert entry.copy_evidence is not None
    assert json.loads(first.vault.read(entry.copy_evidence, limit=1 << 20))["verdict"] == "complete"
    assert "copy-overdue" not in first.health()
    kept = len(list(first.vault.objects(Layout(NAME).copies(first.backup_id))))
    first.call("verify", action="copy")
    assert len(list(first.vault.objects(Layout(NAME).copies(first.backup_id)))) == kept, "nothing has changed"
    read = first.check(read=True)
    assert (read["verdict"], read["by"], read["lacking"], read["pending"]) == ("complete", "content", 0, 0)


def test_a_chunk_that_is_missing_is_named_before_anything_is_made(
    first: First, server16: EphemeralServer
) -> None:
    key = first.chunks()[0]
    body = first.copy.read(key, limit=1 << 26)
    wipe(first.copy, key)

    found = first.check()

    assert (found["verdict"], found["pending"], found["lacking"]) == ("incomplete", 0, 1)
    assert [(reason["code"], reason["object"]) for reason in found["reasons"]] == [("copy-lost", key)]
    assert "copy-overdue" in first.health()
    with pytest.raises(FunctionError) as refused:
        first.restore(url(server16, "incomplete"))
    assert refused.value.code == "copy-incomplete"
    assert key in str(refused.value)
    assert "incomplete" not in databases(server16)
    first.s3.put_object(Bucket=SECOND, Key=key, Body=body)
    assert first.check()["verdict"] == "complete"


def test_a_manifest_that_was_written_over_in_the_copy_is_found_and_not_restored(
    first: First, server16: EphemeralServer
) -> None:
    key = Layout(NAME).manifest(first.backup_id)
    body = first.copy.read(key, limit=1 << 20)
    first.s3.put_object(Bucket=SECOND, Key=key, Body=body + b"\n")

    found = first.check()

    assert [(reason["code"], reason["object"]) for reason in found["reasons"]] == [("copy-lost", key)]
    with pytest.raises(FunctionError) as refused:
        first.restore(url(server16, "written_over"))
    assert refused.value.code == "copy-incomplete"
    assert "root hash" in str(refused.value)
    wipe(first.copy, key)
    first.s3.put_object(Bucket=SECOND, Key=key, Body=body)
    assert first.check()["verdict"] == "complete"


@pytest.mark.parametrize(
    ("damage", "how"),
    [
        (lambda body: body[:-1], {}),
        (lambda body: body[:-1] + bytes([body[-1] ^ 1]), {}),
        (lambda body: body[:-1] + bytes([body[-1] ^ 1]), {"read": True}),
    ],
    ids=["short", "altered", "altered-read"],
)
def test_a_chunk_that_is_short_or_altered_in_the_copy_is_found(
    first: First, damage: Callable[[bytes], bytes], how: dict[str, bool]
) -> None:
    key = first.chunks()[0]
    body = first.copy.read(key, limit=1 << 26)
    wipe(first.copy, key)
    first.s3.put_object(Bucket=SECOND, Key=key, Body=damage(body))

    found = first.check(**how)

    assert (found["verdict"], found["lacking"]) == ("incomplete", 1)
    assert [reason["object"] for reason in found["reasons"]] == [key]
    wipe(first.copy, key)
    first.s3.put_object(Bucket=SECOND, Key=key, Body=body)
    assert first.check(**how)["verdict"] == "complete"


def test_deletions_in_the_vault_do_not_reach_the_copy_and_restores_work_from_it(
    first: First, server16: EphemeralServer
) -> None:
    before = sql(first.source, QUESTION)
    for item in list(first.vault.objects("")):
        first.vault.mark_deleted(item.key)
    first.cloud.replicate()
    wipe(first.vault)
    assert not list(first.vault.versions(""))

    answer = first.restore(url(server16, "rescued"))

    assert (answer["backup_id"], answer["digests_equal"]) == (first.backup_id, True)
    assert sql(target(server16, "rescued"), QUESTION) == before
    assert not list(first.vault.versions("")), "a restore from the copy leaves the vault alone"
    first.cloud.client("dynamodb").delete_item(
        TableName=str(first.cloud.table),
        Key={"pk": {"S": f"DB#{NAME}"}, "sk": {"S": f"BACKUP#{first.backup_id}"}},
    )
    assert rebuild(first.copy, first.catalogue, only_add=True).completed == 1
    entry = first.catalogue.backup(NAME, first.backup_id)
    assert entry is not None
    assert (entry.status, entry.verdict, entry.copy) == ("completed", "proven", "complete")


def test_a_second_stack_whose_vault_is_the_copy_restores_when_the_first_is_gone(
    first: First, stack: Stack, server16: EphemeralServer
) -> None:
    """What the runbook says: its catalogue is rebuilt from the replicas, and all verbs work."""
    for item in list(first.copy.objects("")):
        body = first.copy.read(item.key, limit=1 << 26)
        stack.s3.put_object(Bucket=stack.bucket, Key=item.key, Body=body)
    assert rebuild(stack.store, stack.catalogue, [NAME]).completed == 1
    stack.register(NAME, url(server16, "copied"))
    entry = stack.catalogue.backup(NAME, first.backup_id)
    assert entry is not None
    assert (entry.status, entry.verdict) == ("completed", "proven")

    answer = stack.restore(NAME, url(server16, "second_region"), backup=first.backup_id)

    assert answer["digests_equal"]
    assert sql(target(server16, "second_region"), QUESTION) == sql(first.source, QUESTION)
    assert stack.call("verify", database=NAME, backup_id=first.backup_id)["verdict"] == "proven"
    (report,) = stack.call("rotate", database=NAME)["reports"]
    assert [(one["backup_id"], one["action"]) for one in report["decisions"]] == [(first.backup_id, "keep")]
    assert (report["marked_chunks"], report["orphans"]) == (0, 0)


def test_a_stack_without_a_copy_says_so(stack: Stack) -> None:
    for verb, event in (
        ("verify", {"action": "copy"}),
        ("restore", {"action": "plan", "database": NAME, "target_secret": "none", "source": "copy"}),
    ):
        with pytest.raises(FunctionError) as refused:
            stack.call(verb, **event)
        assert refused.value.code == "no-copy"
