"""House rules of the second vault: who writes it, who reads it, and that nothing deletes there."""

from __future__ import annotations

import json

from tests.contract.test_house_rules import (
    DESTRUCTIVE,
    Resources,
    allowed,
    as_list,
    branches,
    of_the_vault,
    of_type,
)

WRITES = {"s3:ReplicateObject", "s3:ReplicateTags", "s3:ObjectOwnerOverrideToBucketOwner"}
READS = {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions"}


def test_the_vault_lets_another_stack_replicate_into_it_and_read_it_and_no_more(resources: Resources) -> None:
    statements = of_the_vault(resources)
    writer, reader = statements["ReplicasOfAnotherStack"], statements["ReadersOfAnotherStack"]
    assert writer["Principal"] == {"AWS": {"Ref": "ReplicaRoleArn"}}
    assert writer["Action"] == [
        "s3:ReplicateObject",
        "s3:ReplicateTags",
        "s3:ObjectOwnerOverrideToBucketOwner",
    ]
    assert reader["Principal"] == {"AWS": {"Ref": "ReplicaReaderArns"}}
    assert reader["Action"] == [
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:ListBucket",
        "s3:ListBucketVersions",
    ]


def test_replication_reads_the_vault_and_writes_the_copy_and_deletes_nothing(resources: Resources) -> None:
    assert "Policies" not in resources["ReplicationRole"]["Properties"]
    policy = resources["ReplicationRolePolicy"]["Properties"]
    assert policy["RoleName"] == {"Ref": "ReplicationRole"}
    may = {
        action: list(as_list(statement["Resource"]))
        for statement in branches(policy["PolicyDocument"]["Statement"])
        for action in as_list(statement["Action"])
    }
    copy, vault = [{"Fn::Sub": "${CopyBucketArn}/*"}], [{"Fn::Sub": "${Vault.Arn}/*"}]
    assert {action for action, where in may.items() if where == copy} == WRITES
    assert {action for action, where in may.items() if where == vault} == {
        "s3:GetObjectVersionForReplication",
        "s3:GetObjectVersionAcl",
        "s3:GetObjectVersionTagging",
        "s3:GetObjectRetention",
        "s3:GetObjectLegalHold",
    }
    assert not {"s3:ReplicateDelete", "s3:PutObject", *DESTRUCTIVE} & may.keys()
    configuration = resources["Vault"]["Properties"]["ReplicationConfiguration"]["Fn::If"][1]
    (rule,) = configuration["Rules"]
    assert (rule["Status"], rule["Filter"]) == ("Enabled", {"Prefix": ""})
    assert rule["DeleteMarkerReplication"] == {"Status": "Disabled"}


def test_only_verify_and_restore_read_the_copy(resources: Resources) -> None:
    readers = {
        name
        for name, role in of_type(resources, "AWS::IAM::Role").items()
        for _, where in allowed(role)
        if "CopyBucketArn" in json.dumps(where) or "CopyKmsKeyArn" in json.dumps(where)
    }
    assert readers == {"VerifyRole", "RestoreRole", "LoadRole"}
    for name in readers:
        actions = {
            action
            for action, where in allowed(resources[name]["Properties"])
            if "CopyBucketArn" in json.dumps(where)
        }
        assert actions == READS


def test_a_stack_that_keeps_replicas_only_rotates_and_late(resources: Resources) -> None:
    """It must neither back up by itself, nor judge a backup that hasn't arrived whole."""
    scheduled = {
        one["Name"]["Fn::Sub"].removeprefix("${AWS::StackName}-"): one["State"]
        for one in of_type(resources, "AWS::Scheduler::Schedule").values()
    }
    assert scheduled.pop("rotate-daily") == {"Ref": "ScheduleState"}
    assert scheduled.pop("copies") == {"Fn::If": ["UseCopy", {"Ref": "ScheduleState"}, "DISABLED"]}
    resting = {"Fn::If": ["UseReplica", "DISABLED", {"Ref": "ScheduleState"}]}
    assert scheduled
    assert all(state == resting for state in scheduled.values())
    rules = of_type(resources, "AWS::Events::Rule").values()
    (rule,) = (one for one in rules if one["EventPattern"]["source"] == ["aws.s3"])
    assert rule["State"] == {"Fn::If": ["UseReplica", "DISABLED", "ENABLED"]}
    variables = resources["RotateFunction"]["Properties"]["Environment"]["Variables"]
    week = str(7 * 24 * 3600)
    assert variables["COFFRE_PATIENCE_SECONDS"] == {"Fn::If": ["UseReplica", week, "0"]}
