"""S3 Replication, by hand as schedules are: nothing is copied before somebody asks for it.

Between the two an object is ``PENDING``, as it is in S3 for seconds or hours; in which order objects arrive
is the caller's choice, as it is S3's there. Delete markers, deletions and later changes of an object aren't
copied. Roles and keys aren't looked at, and a replica has a version id of its own, which it hasn't in S3.
"""

from collections.abc import Callable, Iterator
from typing import Any

from moto.s3.models import FakeBucket, FakeKey, S3Backend, s3_backends

_DONE, _REPLICA = "_localcloud_replicated", "_localcloud_replica"


def replicate(account: str, only: Callable[[str], bool]) -> int:
    """Copy what waits, in all buckets with a rule.

    Args:
        account: account id.
        only: whether an object of this key arrives now.

    Returns:
        How many objects were copied.
    """
    backend = s3_backends[account]["aws"]
    copied = 0
    for bucket in list(backend.buckets.values()):
        destination = _destination(bucket)
        for key in list(_waiting(bucket)) if destination else []:
            if only(key.name):
                _copy(backend, key, destination)
                copied += 1
    return copied


def reporting(original: Any) -> property:
    """``FakeKey.response_dict`` with the replication status."""

    def response_dict(self: FakeKey) -> dict[str, Any]:
        found: dict[str, Any] = original.__get__(self)
        status = _status(self)
        return {**found, "x-amz-replication-status": status} if status else found

    return property(response_dict)


def _status(key: FakeKey) -> str:
    if hasattr(key, _REPLICA):
        return "REPLICA"
    bucket = s3_backends[key.account_id]["aws"].buckets.get(str(key.bucket_name))
    if bucket is None or not _destination(bucket):
        return ""
    return "COMPLETED" if hasattr(key, _DONE) else "PENDING"


def _destination(bucket: FakeBucket) -> str:
    """Name of the bucket that a bucket is replicated into, "" if there is none."""
    rules = (getattr(bucket, "replication", None) or {}).get("Rule", [])
    arns = [rule["Destination"]["Bucket"] for rule in rules if rule.get("Status") == "Enabled"]
    return str(arns[0]).rpartition(":")[2] if arns else ""


def _waiting(bucket: FakeBucket) -> Iterator[FakeKey]:
    for _, versions in bucket.keys.lists():
        for key in versions:
            if isinstance(key, FakeKey) and not hasattr(key, _DONE) and not hasattr(key, _REPLICA):
                yield key


def _copy(backend: S3Backend, key: FakeKey, destination: str) -> None:
    made = backend.put_object(
        destination, key.name, key.value, etag=key.etag.strip('"'), checksum_value=key.checksum_value
    )
    made.checksum_algorithm = key.checksum_algorithm
    made.acl = key.acl
    setattr(made, _REPLICA, True)
    setattr(key, _DONE, True)
