"""Shows on a real AWS account what no emulation can: conditions, locks, policies, KMS, signatures, events.

    python -m tests.aws.show --region eu-west-1 --bucket-prefix my-check

Makes a bucket, a queue and a rule, all named after the prefix, and removes them at the end, whatever
happened.  It costs a few cents and takes up to ten minutes, as EventBridge takes its time to hear of a new
bucket.  It needs an administrator, or a role that may do all that to S3, SQS and EventBridge.  Exit code: 0
if everything is as Coffre needs it, 1 if not.

What it has shown belongs into docs/not-verified-here.md, with its date.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from samcli.yamlhelper import yaml_parse

from coffre.errors import CoffreError, DeleteRefusedError, ObjectExistsError, ObjectMissingError
from coffre.ids import utc_now
from coffre.vault.store import ObjectStore

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
LOCK_SECONDS = 60
MULTIPART = 5 << 20


class Account:
    """The account's clients, and what this script has made there.

    Parameters
    ----------
    prefix:
        Begins the names of everything.
    patience:
        Seconds to wait for what AWS does some time later.
    """

    def __init__(self, prefix: str, region: str, patience: float) -> None:
        make: Any = boto3.client
        around = {"region_name": region, "config": Config(retries={"mode": "standard"})}
        self.s3 = make("s3", **around)
        self.sqs = make("sqs", **around)
        self.events = make("events", **around)
        self.region = region
        self.patience = patience
        self.name = f"{prefix}-{secrets.token_hex(4)}"
        self.store = ObjectStore(self.s3, self.name)
        self.locked_until: datetime | None = None

    def make(self) -> None:
        """The bucket as the template's: versions, Object Lock, KMS, EventBridge."""
        where = {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        self.s3.create_bucket(
            Bucket=self.name,
            ObjectLockEnabledForBucket=True,
            **({} if self.region == "us-east-1" else where),
        )
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}
        self.s3.put_bucket_encryption(Bucket=self.name, ServerSideEncryptionConfiguration={"Rules": [rule]})
        self.s3.put_bucket_notification_configuration(
            Bucket=self.name, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )

    def clean_up(self) -> None:
        """Remove everything, as far as it is there."""
        self._remove_events()
        if self.locked_until is not None:
            time.sleep(max(0.0, (self.locked_until - utc_now()).total_seconds() + 1))
        unless_gone(lambda: self.s3.delete_bucket_policy(Bucket=self.name))
        unless_gone(self._empty)
        unless_gone(lambda: self.s3.delete_bucket(Bucket=self.name))

    def _empty(self) -> None:
        for page in self.s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.name):
            for upload in page.get("Uploads", ()):
                self.s3.abort_multipart_upload(
                    Bucket=self.name, Key=upload["Key"], UploadId=upload["UploadId"]
                )
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=self.name):
            for item in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                self.s3.delete_object(Bucket=self.name, Key=item["Key"], VersionId=item["VersionId"])

    def _remove_events(self) -> None:
        unless_gone(lambda: self.events.remove_targets(Rule=self.name, Ids=["queue"]))
        unless_gone(lambda: self.events.delete_rule(Name=self.name))
        unless_gone(
            lambda: self.sqs.delete_queue(QueueUrl=self.sqs.get_queue_url(QueueName=self.name)["QueueUrl"])
        )


def unless_gone(remove: Callable[[], object]) -> None:
    """Remove something that may not be there; what else goes wrong is said and doesn't stop the rest."""
    try:
        remove()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        gone = ("NoSuchBucket", "ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue")
        if code not in (*gone, "QueueDoesNotExist"):
            print(f"LEFT  {error}", file=sys.stderr)


def expect(promise: bool, found: str) -> None:
    """What was found must be what was promised."""
    if not promise:
        raise AssertionError(found)


def refusal(request: Callable[[], object]) -> str:
    """The code of the error with which AWS refuses a request; empty if it doesn't."""
    try:
        request()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def fetch(url: str) -> int:
    """The status that a URL answers with."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - a URL that was just made
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def write(store: ObjectStore, key: str, body: bytes = b"content") -> None:
    """Write an object as Coffre does."""
    store.put_new(key, body, size=len(body), sha256=hashlib.sha256(body).hexdigest())


def soon(account: Account, happens: Callable[[], bool]) -> bool:
    """Whether something happens within the account's patience."""
    end = time.monotonic() + account.patience
    while not happens():
        if time.monotonic() > end:
            return False
        time.sleep(min(5.0, account.patience))
    return True


def written_once(account: Account) -> None:
    """an object can't be written twice, from memory or from a file"""
    write(account.store, "once")
    for body in (b"content", io.BytesIO(b"content")):
        try:
            account.store.put_new("once", body, size=7, sha256=hashlib.sha256(b"content").hexdigest())
        except ObjectExistsError:
            continue
        raise AssertionError("the second write succeeded")


def one_winner(account: Account) -> None:
    """of 32 writers at once exactly one wins"""

    def attempt(number: int) -> bool:
        try:
            write(account.store, "prize", b"writer %d" % number)
        except ObjectExistsError:
            return False
        return True

    with ThreadPoolExecutor(32) as threads:
        winners = sum(threads.map(attempt, range(32)))
    expect(winners == 1, f"{winners} writers won")


def over_marker(account: Account) -> None:
    """a key behind a delete marker can be written again; the older version stays readable"""
    write(account.store, "again", b"first")
    account.store.mark_deleted("again")
    expect(account.store.head("again") is None, "the marker doesn't hide the object")
    write(account.store, "again", b"second")
    found = [version for version in account.store.versions("again") if not version.marker]
    bodies = {account.store.read("again", limit=100, version=version.version) for version in found}
    expect(bodies == {b"first", b"second"}, f"the versions hold {bodies}")


def checksum(account: Account) -> None:
    """a wrong checksum is refused; the right one is given back"""
    try:
        account.store.put_new("wrong", b"content", size=7, sha256="0" * 64)
    except CoffreError as error:
        print(f"      {error}")
    else:
        raise AssertionError("a wrong checksum was accepted")
    write(account.store, "right")
    seen = account.store.head("right")
    expect(seen is not None and seen.sha256 == hashlib.sha256(b"content").hexdigest(), f"S3 says {seen}")


def missing(account: Account) -> None:
    """a version that was deleted, and a delete marker, are missing"""
    write(account.store, "gone")
    account.store.mark_deleted("gone")
    for version in list(account.store.versions("gone")):
        if not version.marker:
            account.store.delete_version("gone", version.version)
        try:
            account.store.get("gone", version.version)
        except ObjectMissingError:
            continue
        raise AssertionError("it can be read")


def encrypted(account: Account) -> None:
    """objects are under KMS, and presigned URLs read them"""
    write(account.store, "kms")
    seen = account.s3.head_object(Bucket=account.name, Key="kms").get("ServerSideEncryption")
    expect(seen == "aws:kms", f"encrypted by {seen}")
    status = fetch(account.store.presigned("kms", seconds=60))
    expect(status == 200, f"our URL answers {status}")
    make: Any = boto3.client
    old = make("s3", region_name=account.region, config=Config(signature_version="s3"))
    status = fetch(old.generate_presigned_url("get_object", Params={"Bucket": account.name, "Key": "kms"}))
    print(f"      a URL of version 2 answers {status}")


def urls(account: Account) -> None:
    """presigned URLs expire and can't be altered"""
    write(account.store, "shared")
    write(account.store, "secret")
    url = account.store.presigned("shared", seconds=5)
    expect(fetch(url) == 200, "a fresh URL doesn't work")
    expect(fetch(url.replace("/shared", "/secret")) == 403, "an altered URL works")
    time.sleep(6)
    expect(fetch(url) == 403, "an expired URL works")


def retention(account: Account) -> None:
    """a version under COMPLIANCE can't be deleted, nor its retention shortened; a marker can be put"""
    write(account.store, "locked")
    (version,) = account.store.versions("locked")
    account.locked_until = utc_now() + timedelta(seconds=LOCK_SECONDS)

    def retain(until: datetime) -> object:
        retention = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
        return account.s3.put_object_retention(
            Bucket=account.name, Key="locked", VersionId=version.version, Retention=retention
        )

    retain(account.locked_until)
    account.store.mark_deleted("locked")
    try:
        account.store.delete_version("locked", version.version)
    except DeleteRefusedError:
        pass
    else:
        raise AssertionError("the version was deleted")
    shortened = refusal(lambda: retain(utc_now() + timedelta(seconds=LOCK_SECONDS / 2)))
    expect(shortened == "AccessDenied", f"shortening answered {shortened or 'yes'}")


def legal_hold(account: Account) -> None:
    """a version under legal hold can't be deleted until the hold is lifted"""
    write(account.store, "held")
    (version,) = account.store.versions("held")

    def hold(status: str) -> None:
        account.s3.put_object_legal_hold(
            Bucket=account.name, Key="held", VersionId=version.version, LegalHold={"Status": status}
        )

    hold("ON")
    try:
        account.store.delete_version("held", version.version)
    except DeleteRefusedError:
        pass
    else:
        raise AssertionError("the version was deleted")
    finally:
        hold("OFF")
    account.store.delete_version("held", version.version)


def policy(account: Account) -> None:
    """the template's policy refuses a PUT without If-None-Match, and no other"""
    statements = yaml_parse(TEMPLATE.read_text())["Resources"]["VaultPolicy"]["Properties"]["PolicyDocument"]
    (statement,) = [one for one in statements["Statement"] if one.get("Sid") == "OnlyNewObjects"]
    partition = "aws-cn" if account.region.startswith("cn-") else "aws"
    statement["Resource"] = f"arn:{partition}:s3:::{account.name}/*"
    document = {"Version": "2012-10-17", "Statement": [statement]}
    account.s3.put_bucket_policy(Bucket=account.name, Policy=json.dumps(document))

    def refuses() -> bool:
        key = f"plain-{secrets.token_hex(4)}"
        return refusal(lambda: account.s3.put_object(Bucket=account.name, Key=key)) == "AccessDenied"

    expect(soon(account, refuses), "a plain PUT succeeds")
    write(account.store, "conditional")
    multipart(account)


def multipart(account: Account) -> None:
    """A multipart upload passes the policy: its condition is asked at the end."""
    where = {"Bucket": account.name, "Key": "multipart"}
    upload = {**where, "UploadId": account.s3.create_multipart_upload(**where)["UploadId"]}
    etag = account.s3.upload_part(**upload, PartNumber=1, Body=bytes(MULTIPART))["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    account.s3.complete_multipart_upload(**upload, MultipartUpload=parts, IfNoneMatch="*")


def delivery(account: Account) -> None:
    """the creation of a manifest, and of nothing else, arrives through EventBridge"""
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [account.name]}, "object": {"key": [{"suffix": "/manifest.json"}]}},
    }
    rule = account.events.put_rule(Name=account.name, EventPattern=json.dumps(pattern))["RuleArn"]
    queue = account.sqs.create_queue(QueueName=account.name)["QueueUrl"]
    about = account.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    arn = about["Attributes"]["QueueArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    account.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": document})
    account.events.put_targets(Rule=account.name, Targets=[{"Id": "queue", "Arn": arn}])
    arrived: list[str] = []

    def arrives() -> bool:
        folder = f"shop/backups/{secrets.token_hex(4)}"
        write(account.store, f"{folder}/x/parts/1")
        write(account.store, f"{folder}/manifest.json")
        answer = account.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=2)
        for message in answer.get("Messages", ()):
            arrived.append(json.loads(message["Body"])["detail"]["object"]["key"])
        return bool(arrived)

    expect(soon(account, arrives), "no event arrived")
    others = [key for key in arrived if not key.endswith("/manifest.json")]
    expect(others == [], f"events arrived for {others}")


CHECKS: list[Callable[[Account], None]] = [
    written_once,
    one_winner,
    over_marker,
    checksum,
    missing,
    encrypted,
    urls,
    retention,
    legal_hold,
    delivery,
    policy,
]


def show(account: Account) -> list[str]:
    """Make the bucket, run all checks, clean up; the names of the checks that failed."""
    failed = []
    try:
        account.make()
        for check in CHECKS:
            try:
                check(account)
            except (AssertionError, ClientError, CoffreError, ValueError) as error:
                failed.append(check.__name__)
                print(f"FAIL  {check.__doc__}: {error}", flush=True)
            else:
                print(f"ok    {check.__doc__}", flush=True)
    finally:
        account.clean_up()
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.aws.show", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--bucket-prefix", required=True, help="begins the names of what is made")
    parser.add_argument("--region", required=True, help="where it is made")
    parser.add_argument("--patience", type=float, default=420, help="seconds to wait for policy and events")
    given = parser.parse_args(arguments)
    failed = show(Account(given.bucket_prefix, given.region, given.patience))
    print(f"{len(CHECKS) - len(failed)} of {len(CHECKS)} as Coffre needs it, in {given.region}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
