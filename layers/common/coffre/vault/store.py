"""The object store: what Coffre needs of S3, and S3's errors translated, once.

Retries (bounded, with jitter) are the client's: `coffre.wiring` sets botocore's ``standard`` mode.  Here is
only what botocore doesn't know: a conditional write that conflicts with another one is tried again.
"""

from __future__ import annotations

import base64
import copy
import io
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, Self, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from coffre.errors import (
    DeleteRefusedError,
    ObjectCorruptError,
    ObjectExistsError,
    ObjectMissingError,
    StoreUnavailableError,
)
from coffre.vault.locks import Lock, LockRule
from coffre.vault.objects import ObjectInfo, Version
from coffre.vault.sealing import UNSEALED, Seal
from coffre.vault.signed import SignedRequests

T = TypeVar("T")

CONFLICT_ATTEMPTS = 5

DELETES = 1000
"""Objects that one request deletes at most.
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html"""


class ObjectStore:
    """One bucket.

    Parameters
    ----------
    client:
        A boto3 S3 client.
    bucket:
        The bucket's name.
    signed:
        What reads objects, looks at them and writes small ones; by default as the client would.
    owner:
        The account that the bucket must belong to: S3 refuses every request if it is another's.
        Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html

    Attributes
    ----------
    lock:
        Put on every object that is written here; None: the bucket's default.  See `with_lock`.
    seal:
        What chunks, files and parts of a backup are written and read with here; see `with_seal`.
    """

    lock: Lock | None = None
    seal: Seal = UNSEALED

    def __init__(
        self, client: Any, bucket: str, signed: SignedRequests | None = None, *, owner: str = ""
    ) -> None:
        self._client = client
        self.bucket = bucket
        self._signed = signed or SignedRequests.of_client(client, bucket, owner)
        self._place = {"Bucket": bucket, **({"ExpectedBucketOwner": owner} if owner else {})}

    def with_lock(self, lock: Lock | None) -> Self:
        """The same bucket, where everything that is written gets this lock at once."""
        twin = copy.copy(self)
        twin.lock = lock
        return twin

    def with_seal(self, seal: Seal) -> Self:
        """The same bucket, for the backups that are under this seal."""
        twin = copy.copy(self)
        twin.seal = seal
        return twin

    def hand_over(self) -> dict[str, Any]:
        """What a worker process needs to write here without a client of its own."""
        return {"bucket": self.bucket, **self._signed.hand_over()}

    def put_new(self, key: str, body: bytes | BinaryIO, *, size: int, sha256: str) -> None:
        """Write an object that must not exist yet, with its checksum, which the store verifies.

        A key that only has a delete marker doesn't exist: the write succeeds and makes a new version.  If the
        answer to an attempt is lost, the next one finds the object that the first has made: that is a success
        if the store's checksum says so.
        Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html

        Parameters
        ----------
        size, sha256:
            Bytes of the body, and its SHA-256 in hex.

        Raises
        ------
        ObjectExistsError, StoreUnavailableError
        """
        if isinstance(body, bytes):
            status, again = self._signed.put(key, body, sha256, self.lock.headers if self.lock else None)
            if status == 412 and not (again and self._holds(key, size, sha256)):
                raise ObjectExistsError(f"object {key} exists already")
            return
        mode_and_end = (
            {"ObjectLockMode": self.lock.mode, "ObjectLockRetainUntilDate": self.lock.until}
            if self.lock
            else {}
        )
        for attempt in range(1, CONFLICT_ATTEMPTS + 1):
            body.seek(0)
            try:
                self._client.put_object(
                    **self._place,
                    Key=key,
                    Body=body,
                    ContentLength=size,
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
                    IfNoneMatch="*",
                    **mode_and_end,
                )
            except ClientError as error:
                if _code(error) == "PreconditionFailed":
                    if _retried(error) and self._holds(key, size, sha256):
                        return
                    raise ObjectExistsError(f"object {key} exists already") from error
                if _code(error) != "ConditionalRequestConflict" or attempt == CONFLICT_ATTEMPTS:
                    raise _translate(error, "write", key) from error
            except BotoCoreError as error:
                raise _translate(error, "write", key) from error
            else:
                return

    def get(self, key: str, version: str | None = None) -> BinaryIO:
        """An object's bytes, as a stream.

        Raises
        ------
        ObjectMissingError, StoreUnavailableError
            Also while the stream is read.
        """
        return io.BufferedReader(self._signed.get(key, version), 1 << 17)

    def read(self, key: str, *, limit: int, version: str | None = None) -> bytes:
        """A small object, whole.

        Raises
        ------
        ObjectCorruptError
            If it has more than ``limit`` bytes.
        ObjectMissingError, StoreUnavailableError
        """
        with self.get(key, version) as body:
            content = body.read(limit + 1)
        if len(content) > limit:
            raise ObjectCorruptError(f"object {key} has more than {limit} bytes")
        return content

    def head(self, key: str, version: str | None = None) -> ObjectInfo | None:
        """What the store says of an object, checksum and lock included; None if it doesn't exist."""
        found = self._signed.head(key, version)
        if found is None:
            return None
        checksum, until = found.get("x-amz-checksum-sha256"), found.get("x-amz-object-lock-retain-until-date")
        return ObjectInfo(
            key,
            int(found["Content-Length"]),
            parsedate_to_datetime(found["Last-Modified"]),
            base64.b64decode(checksum).hex() if checksum and "-" not in checksum else None,
            found.get("x-amz-version-id", ""),
            datetime.fromisoformat(until) if until else None,
            found.get("x-amz-object-lock-legal-hold") == "ON",
            found.get("x-amz-replication-status", ""),
        )

    def objects(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """The objects below a prefix, in the order of their keys; delete markers hide theirs."""
        after = {"StartAfter": start_after} if start_after else {}
        for page in self._pages("list_objects_v2", prefix, Prefix=prefix, **after):
            for item in page.get("Contents", ()):
                yield ObjectInfo(item["Key"], item["Size"], item["LastModified"])

    def folders(self, prefix: str) -> Iterator[str]:
        """The names directly below a prefix that ends in a slash, each with its own slash at the end."""
        for page in self._pages("list_objects_v2", prefix, Prefix=prefix, Delimiter="/"):
            for item in page.get("CommonPrefixes", ()):
                yield item["Prefix"].removeprefix(prefix)

    def versions(self, prefix: str) -> Iterator[Version]:
        """All versions and delete markers below a prefix, in the order of their keys."""
        for page in self._pages("list_object_versions", prefix, Prefix=prefix):
            found = [(item, False) for item in page.get("Versions", ())]
            found += [(item, True) for item in page.get("DeleteMarkers", ())]
            for item, marker in sorted(found, key=lambda pair: str(pair[0]["Key"])):
                yield Version(
                    item["Key"],
                    item["VersionId"],
                    item["IsLatest"],
                    marker,
                    0 if marker else item["Size"],
                    item["LastModified"],
                )

    def mark_deleted(self, key: str) -> None:
        """Hide an object behind a delete marker; its versions stay."""
        try:
            self._client.delete_object(**self._place, Key=key)
        except (ClientError, BotoCoreError) as error:
            raise _translate(error, "mark", key) from error

    def delete_version(self, key: str, version: str) -> None:
        """Delete one version, or one delete marker, for good.

        Raises
        ------
        DeleteRefusedError
            If a lock or a policy forbids it.
        StoreUnavailableError
        """
        try:
            self._client.delete_object(**self._place, Key=key, VersionId=version)
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and _code(error) == "AccessDenied":
                raise DeleteRefusedError(f"the store refused to delete version {version} of {key}") from error
            raise _translate(error, "delete", key) from error

    def mark_all_deleted(self, keys: Sequence[str]) -> None:
        """Hide objects behind delete markers, many with one request and in no order.

        Raises
        ------
        StoreUnavailableError
            Some may be hidden then.
        """
        for some in _batches(keys):
            for key in self._delete_many([{"Key": key} for key in some]):
                self.mark_deleted(key)

    def delete_versions(self, versions: Sequence[Version]) -> set[str]:
        """Delete versions and delete markers for good, many with one request and in no order.

        Returns
        -------
        set
            The keys of which a lock or a policy keeps a version.

        Raises
        ------
        StoreUnavailableError
            Some may be deleted then.
        """
        refused: set[str] = set()
        for some in _batches(versions):
            failed = self._delete_many([{"Key": one.key, "VersionId": one.version} for one in some])
            for one in some:
                if one.key in failed:
                    try:
                        self.delete_version(one.key, one.version)
                    except DeleteRefusedError:
                        refused.add(one.key)
        return refused

    def retain(self, key: str, version: str, lock: Lock) -> None:
        """Lock a version.  S3 refuses to make a lock shorter; see `coffre.vault.retention.extend`.

        Raises
        ------
        ObjectMissingError, StoreUnavailableError
        """
        try:
            self._client.put_object_retention(
                **self._place,
                Key=key,
                VersionId=version,
                Retention={"Mode": lock.mode, "RetainUntilDate": lock.until},
            )
        except (ClientError, BotoCoreError) as error:
            raise _translate(error, "lock", key) from error

    def legal_hold(self, key: str, version: str, *, on: bool) -> None:
        """Set or lift a version's legal hold.

        Raises
        ------
        ObjectMissingError, StoreUnavailableError
        """
        try:
            self._client.put_object_legal_hold(
                **self._place, Key=key, VersionId=version, LegalHold={"Status": "ON" if on else "OFF"}
            )
        except (ClientError, BotoCoreError) as error:
            raise _translate(error, "hold", key) from error

    def lock_rule(self) -> LockRule | None:
        """The bucket's Object Lock with its default retention; None: nothing here is immutable.

        Raises
        ------
        StoreUnavailableError
        """
        try:
            answer = self._client.get_object_lock_configuration(**self._place)
        except ClientError as error:
            if _code(error) == "ObjectLockConfigurationNotFoundError":
                return None
            raise _translate(error, "look at the Object Lock of", self.bucket) from error
        except BotoCoreError as error:
            raise _translate(error, "look at the Object Lock of", self.bucket) from error
        found = answer.get("ObjectLockConfiguration", {})
        default = found.get("Rule", {}).get("DefaultRetention", {})
        if found.get("ObjectLockEnabled") != "Enabled" or not default.get("Mode"):
            return None
        return LockRule(
            default["Mode"], timedelta(days=default.get("Days") or 365 * (default.get("Years") or 0))
        )

    def presigned(self, key: str, *, seconds: int, version: str | None = None) -> str:
        """A URL that lets its bearer read one object for ``seconds``."""
        return self._signed.presigned(key, seconds=seconds, version=version)

    def versioning(self) -> str:
        """The bucket's versioning: ``Enabled``, ``Suspended`` or ``Off``."""
        try:
            return str(self._client.get_bucket_versioning(**self._place).get("Status", "Off"))
        except (ClientError, BotoCoreError) as error:
            raise _translate(error, "look at the versioning of", self.bucket) from error

    def lifecycle_rules(self) -> list[dict[str, Any]]:
        """The bucket's lifecycle rules, as S3 describes them."""
        try:
            answer = self._client.get_bucket_lifecycle_configuration(**self._place)
        except ClientError as error:
            if _code(error) == "NoSuchLifecycleConfiguration":
                return []
            raise _translate(error, "look at the lifecycle of", self.bucket) from error
        except BotoCoreError as error:
            raise _translate(error, "look at the lifecycle of", self.bucket) from error
        rules: list[dict[str, Any]] = answer.get("Rules", [])
        return rules

    def _delete_many(self, objects: list[dict[str, str]]) -> set[str]:
        """Delete up to `DELETES` objects; the keys that have to be tried alone, which says what is wrong."""
        try:
            answer = self._client.delete_objects(**self._place, Delete={"Objects": objects, "Quiet": True})
        except (ClientError, BotoCoreError) as error:
            keys = f"{objects[0]['Key']} and what follows it"
            raise _translate(error, "delete", keys) from error
        return {error["Key"] for error in answer.get("Errors", ())}

    def _holds(self, key: str, size: int, sha256: str) -> bool:
        """Whether the store says that an object has this content."""
        seen = self.head(key)
        return seen is not None and (seen.size, seen.sha256) == (size, sha256)

    def _pages(self, operation: str, prefix: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        try:
            yield from self._client.get_paginator(operation).paginate(**self._place, **parameters)
        except (ClientError, BotoCoreError) as error:
            raise _translate(error, "list", prefix) from error


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + DELETES] for start in range(0, len(items), DELETES))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _retried(error: ClientError) -> bool:
    """Whether botocore had tried before."""
    return error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0


def _translate(
    error: ClientError | BotoCoreError, action: str, key: str
) -> ObjectMissingError | StoreUnavailableError:
    if isinstance(error, ClientError):
        code = _code(error)
        if code in ("404", "NoSuchKey", "NoSuchVersion", "NotFound"):
            return ObjectMissingError(f"object {key} doesn't exist")
        return StoreUnavailableError(f"could not {action} {key}: the store answered {code}")
    return StoreUnavailableError(f"could not {action} {key}: {type(error).__name__}")
