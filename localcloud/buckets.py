"""Settings of buckets that moto's CloudFormation drops."""

import json
from collections.abc import Mapping
from typing import Any

from moto.s3.models import s3_backends


def configure_bucket(s3: Any, account: str, bucket: str, properties: Mapping[str, Any]) -> None:
    """Set what the template says about a bucket beyond its name, encryption and tags.

    Args:
        s3: boto3 client.
        account: account id.
        bucket: its name.
        properties: of ``AWS::S3::Bucket``, resolved.
    """
    if versioning := properties.get("VersioningConfiguration"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": versioning["Status"]})
    if _is_true(properties.get("ObjectLockEnabled", False)):
        _enable_lock(s3, account, bucket, properties.get("ObjectLockConfiguration"))
    if access := properties.get("PublicAccessBlockConfiguration"):
        blocked = {key: _is_true(value) for key, value in access.items()}
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocked)
    bridge = properties.get("NotificationConfiguration", {}).get("EventBridgeConfiguration")
    if bridge is not None and _is_true(bridge.get("EventBridgeEnabled", True)):
        notification: dict[str, Any] = {"EventBridgeConfiguration": {}}
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notification)
    if replication := properties.get("ReplicationConfiguration"):
        rules = [_replication_rule(rule) for rule in replication["Rules"]]
        s3.put_bucket_replication(
            Bucket=bucket, ReplicationConfiguration={"Role": replication["Role"], "Rules": rules}
        )
    if lifecycle := properties.get("LifecycleConfiguration"):
        rules = [_lifecycle_rule(rule) for rule in lifecycle["Rules"]]
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


def put_policy(s3: Any, properties: Mapping[str, Any]) -> None:
    """Store a bucket policy, for those who read it; it isn't enforced."""
    s3.put_bucket_policy(Bucket=properties["Bucket"], Policy=json.dumps(properties["PolicyDocument"]))


def _enable_lock(s3: Any, account: str, bucket: str, configuration: Mapping[str, Any] | None) -> None:
    # The API allows it at creation only, and moto's CloudFormation doesn't pass it on.
    s3_backends[account]["aws"].get_bucket(bucket).object_lock_enabled = True
    if configuration:
        s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=configuration)


def _replication_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule in the API's words, from CloudFormation's."""
    made = {"ID": rule["Id"], "Status": rule["Status"], "Priority": int(rule["Priority"])}
    return made | {
        "Filter": rule["Filter"],
        "DeleteMarkerReplication": rule["DeleteMarkerReplication"],
        "Destination": {"Bucket": rule["Destination"]["Bucket"]},
    }


def _lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule in the API's words, from CloudFormation's."""
    made: dict[str, Any] = {"Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if "Id" in rule:
        made["ID"] = rule["Id"]
    expiration: dict[str, Any] = {}
    if "ExpirationInDays" in rule:
        expiration["Days"] = int(rule["ExpirationInDays"])
    if "ExpiredObjectDeleteMarker" in rule:
        expiration["ExpiredObjectDeleteMarker"] = _is_true(rule["ExpiredObjectDeleteMarker"])
    if expiration:
        made["Expiration"] = expiration
    if old := rule.get("NoncurrentVersionExpiration"):
        made["NoncurrentVersionExpiration"] = {key: int(value) for key, value in old.items()}
    if uploads := rule.get("AbortIncompleteMultipartUpload"):
        days = int(uploads["DaysAfterInitiation"])
        made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    if moves := rule.get("Transitions"):
        made["Transitions"] = [
            {"Days": int(move["TransitionInDays"]), "StorageClass": move["StorageClass"]} for move in moves
        ]
    return made


def _is_true(value: object) -> bool:
    return str(value).lower() == "true"
