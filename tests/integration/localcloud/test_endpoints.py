"""The endpoints keep what S3, DynamoDB and the template promise."""

import base64
import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

import localcloud
from coffre.errors import CoffreError
from coffre.vault.locks import Lock
from coffre.vault.store import ObjectStore
from localcloud import LocalCloudError, UnknownScheduleError


def test_of_eight_writers_that_must_not_overwrite_exactly_one_wins(desk: Any) -> None:
    def put(key: str) -> bool:
        try:
            desk.s3.put_object(Bucket=desk.cloud.bucket, Key=key, Body=b"x" * 50_000, IfNoneMatch="*")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            assert sum(pool.map(put, [f"race/{number}"] * 8)) == 1


def test_atomic_increments_all_arrive(desk: Any) -> None:
    table = desk.cloud.client("dynamodb")
    key = {"pk": {"S": "counter"}}

    def add(_: int) -> None:
        table.update_item(
            TableName=desk.cloud.table,
            Key=key,
            UpdateExpression="ADD hits :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(200)))
    assert table.get_item(TableName=desk.cloud.table, Key=key)["Item"]["hits"] == {"N": "200"}


def test_objects_keep_their_bytes_versions_and_checksums(desk: Any) -> None:
    bucket = desk.cloud.bucket
    for size in (0, 1, 16 * 1024, 16 * 1024 + 1, 300_000):
        body = bytes(range(256)) * (size // 256) + bytes(size % 256)
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        desk.s3.put_object(Bucket=bucket, Key="kept", Body=body, ChecksumSHA256=digest)
        got = desk.s3.get_object(Bucket=bucket, Key="kept")
        assert got["Body"].read() == body
        assert got["ETag"].strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest()
        head = desk.s3.head_object(Bucket=bucket, Key="kept", ChecksumMode="ENABLED")
        assert (head["ContentLength"], head["ChecksumSHA256"]) == (size, digest)
    part = desk.s3.get_object(Bucket=bucket, Key="kept", Range="bytes=256-511")
    assert part["Body"].read() == bytes(range(256))
    desk.s3.delete_object(Bucket=bucket, Key="kept")
    listed = desk.s3.list_object_versions(Bucket=bucket, Prefix="kept")
    assert (len(listed["Versions"]), len(listed["DeleteMarkers"])) == (5, 1)
    desk.s3.put_object(Bucket=bucket, Key="kept", Body=b"over a marker", IfNoneMatch="*")


def test_an_upload_with_a_wrong_checksum_is_refused(desk: Any) -> None:
    wrong = base64.b64encode(hashlib.sha256(b"something else").digest()).decode()
    with pytest.raises(ClientError, match="BadDigest"):
        desk.s3.put_object(Bucket=desk.cloud.bucket, Key="wrong", Body=b"this", ChecksumSHA256=wrong)
    with pytest.raises(ClientError, match="404"):
        desk.s3.head_object(Bucket=desk.cloud.bucket, Key="wrong")


def test_presigned_urls_work_with_plain_http(desk: Any) -> None:
    where = {"Bucket": desk.cloud.bucket, "Key": "signed/file"}

    def request(method: str, key: str, body: bytes | None = None) -> tuple[int, bytes]:
        operation = "put_object" if method == "PUT" else "get_object"
        url = urlsplit(desk.s3.generate_presigned_url(operation, Params={**where, "Key": key}))
        connection = HTTPConnection(url.netloc)
        form = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection.request(method, f"{url.path}?{url.query}", body, form)
        answer = connection.getresponse()
        return answer.status, answer.read()

    assert request("PUT", "signed/file", b"\xff content")[0] == 200
    assert request("GET", "signed/file") == (200, b"\xff content")
    assert request("GET", "absent")[0] == 404


def test_what_cloudformation_of_moto_drops_is_there(desk: Any) -> None:
    bucket, table = desk.cloud.bucket, desk.cloud.table
    assert desk.s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    rules = {r["ID"]: r for r in desk.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    assert rules["tickets"]["Expiration"] == {"Days": 1}
    assert rules["uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert "SecureTransport" in desk.s3.get_bucket_policy(Bucket=bucket)["Policy"]
    dynamodb = desk.cloud.client("dynamodb")
    ttl = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    names = [s["Name"] for s in desk.cloud.client("scheduler").list_schedules()["Schedules"]]
    assert names == ["local-nightly"]
    (stack,) = desk.cloud.client("cloudformation").describe_stacks(StackName="local")["Stacks"]
    assert [(o["OutputKey"], o["OutputValue"]) for o in stack["Outputs"]] == [("VaultName", bucket)]


def test_what_is_left_out_is_listed_and_conditions_hold(desk: Any) -> None:
    assert desk.cloud.status()["not_simulated"] == [
        "AWS::CloudWatch::Alarm DepthAlarm",
        "AWS::S3::BucketPolicy VaultPolicy (kept, not enforced)",
    ]
    assert "ExtraBucket" not in desk.cloud.resources


def test_a_second_cloud_in_one_process_and_an_unknown_schedule_are_refused(desk: Any, tmp_path: Path) -> None:
    with pytest.raises(LocalCloudError, match="already"):
        localcloud.up(tmp_path / "template.yaml", state=tmp_path)
    with pytest.raises(UnknownScheduleError, match="local-nightly"):
        desk.cloud.fire("hourly")


def test_a_long_poll_does_not_keep_the_sender_waiting(desk: Any) -> None:
    url = desk.cloud.resources["Received"]
    with ThreadPoolExecutor(1) as pool:
        polling = pool.submit(desk.sqs.receive_message, QueueUrl=url, WaitTimeSeconds=15)
        desk.sqs.send_message(QueueUrl=url, MessageBody="now")
        (message,) = polling.result()["Messages"]  # a sender that waits comes when nobody polls any more
    desk.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def _calls(store: ObjectStore) -> Iterator[Callable[[], object]]:
    """Each request that a vault is sent."""
    body = b"mine"
    sha256, later = hashlib.sha256(body).hexdigest(), datetime.now(UTC) + timedelta(days=1)
    yield lambda: store.put_new("owned/small", body, size=4, sha256=sha256)
    yield lambda: store.put_new("owned/file", io.BytesIO(body), size=4, sha256=sha256)
    yield lambda: store.read("owned/small", limit=9)
    yield lambda: store.head("owned/small")
    yield lambda: list(store.objects("owned/"))
    yield lambda: list(store.folders("owned/"))
    yield lambda: list(store.versions("owned/"))
    yield lambda: store.retain("owned/file", version(store, "owned/file"), Lock("GOVERNANCE", later))
    yield lambda: store.legal_hold("owned/file", version(store, "owned/file"), on=False)
    yield store.lock_rule
    yield store.versioning
    yield store.lifecycle_rules
    yield lambda: store.delete_version("owned/small", version(store, "owned/small"))
    yield lambda: store.mark_deleted("owned/file")


def version(store: ObjectStore, key: str) -> str:
    """A version's id, whoever owns the bucket."""
    found = ObjectStore(store._client, store.bucket).head(key)
    return found.version if found else "none"


def test_a_bucket_of_another_account_is_refused_whatever_is_asked_of_it(desk: Any) -> None:
    """Every request says whose bucket it expects; the local cloud compares, as S3 does."""
    bucket = "owned-bucket"
    desk.s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    for call in _calls(ObjectStore(desk.s3, bucket, owner="999999999999")):
        with pytest.raises(CoffreError, match=r"AccessDenied|403|refused to delete"):
            call()
    mine = ObjectStore(desk.s3, bucket, owner="123456789012")
    for call in _calls(mine):
        call()
    assert mine.head("owned/small") is None
