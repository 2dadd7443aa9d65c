"""House rules of the template: who may do what, and where a failure is heard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from coffre.events.backup import BackupRequest
from coffre.events.base import Event, parse
from coffre.events.health import HealthRequest
from coffre.events.report import ReportRequest
from coffre.events.restore import DrillRequest
from coffre.events.rotate import RotateRequest
from coffre.events.verify import CopyRequest, RecheckRequest
from coffre.vault.locks import LONGEST
from tests.support.policies import FUNCTIONS

Resources = dict[str, dict[str, Any]]

PROVERS = [f"prove{major}" for major in (14, 15, 16, 17, 18)]
VERBS = sorted([*FUNCTIONS, *PROVERS])
# Those without OnFailure: Lambda demands that a role may send to its function's destination,
# and prove's role may only log. Only verify invokes them, synchronously, and reports their failures.
WITHOUT_ON_FAILURE = set(PROVERS)
# Actions that AWS doesn't tie to a resource, or not before the resource exists.
WITHOUT_RESOURCE = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "cloudwatch:GetMetricData",
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
    # A state machine's role, for its log and its traces.
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
}
# What destroys backups, at once or later.
DESTRUCTIVE = [
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketPolicy",
    "s3:PutBucketVersioning",
    "s3:PutLifecycleConfiguration",
    "s3:PutReplicationConfiguration",
    "s3:PutBucketObjectLockConfiguration",
    "s3:BypassGovernanceRetention",
    "kms:DisableKey",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "dynamodb:DeleteTable",
    "dynamodb:DeleteItem",
]


def as_list(value: object) -> list[Any]:
    """``value`` itself if it is a list, else a list of it."""
    return value if isinstance(value, list) else [value]


def of_type(resources: Resources, kind: str) -> dict[str, Any]:
    """Properties of the resources of one type, by logical id."""
    return {name: r["Properties"] for name, r in resources.items() if r["Type"] == kind}


def arn(logical: str) -> dict[str, list[str]]:
    """How the template refers to the ARN of ``logical``."""
    return {"Fn::GetAtt": [logical, "Arn"]}


def branches(value: object) -> Iterator[dict[str, Any]]:
    """The statements in ``value``, those behind an ``Fn::If`` included."""
    for item in as_list(value):
        if "Fn::If" in item:
            yield from branches([b for b in item["Fn::If"][1:] if b != {"Ref": "AWS::NoValue"}])
        else:
            yield item


def allowed(role: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each action that ``role`` allows, with the resources it is allowed on."""
    for policy in role.get("Policies", []):
        for statement in branches(policy["PolicyDocument"]["Statement"]):
            if statement["Effect"] == "Allow":
                for action in as_list(statement["Action"]):
                    yield action, statement["Resource"]


def of_the_vault(resources: Resources) -> dict[str, dict[str, Any]]:
    """The statements of the vault's policy by name."""
    document = resources["VaultPolicy"]["Properties"]["PolicyDocument"]
    return {statement["Sid"]: statement for statement in branches(document["Statement"])}


def grants(role: dict[str, Any], action: str) -> bool:
    """Whether ``role`` allows ``action`` on anything."""
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern, _ in allowed(role))


def queue_of(verb: str) -> dict[str, list[str]]:
    """The queue that holds the failures of ``verb``."""
    return arn(f"{verb.capitalize()}Failures")


def deliveries(resources: Resources) -> dict[str, tuple[str, dict[str, Any]]]:
    """Each target of a schedule or rule: the verb that it starts, and the target."""
    found = {}
    for name, schedule in of_type(resources, "AWS::Scheduler::Schedule").items():
        found[name] = schedule["Target"]
    for name, rule in of_type(resources, "AWS::Events::Rule").items():
        (found[name],) = rule["Targets"]
    return {
        name: (target["Arn"]["Fn::GetAtt"][0].removesuffix("Function").lower(), target)
        for name, target in found.items()
    }


def test_the_template_holds_every_verb(functions: Resources) -> None:
    assert sorted(functions) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_no_function_asks_for_more_time_than_lambda_gives(functions: Resources, verb: str) -> None:
    assert 0 < functions[verb]["Timeout"] <= 900


@pytest.mark.parametrize("verb", VERBS)
def test_every_function_has_a_log_group_that_forgets(
    resources: Resources, functions: Resources, verb: str
) -> None:
    group = resources[functions[verb]["LoggingConfig"]["LogGroup"]["Ref"]]
    assert group["Type"] == "AWS::Logs::LogGroup"
    assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert functions[verb]["LoggingConfig"]["LogFormat"] == "JSON"


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_that_fails_for_good_reaches_its_queue(resources: Resources, verb: str) -> None:
    configs = of_type(resources, "AWS::Lambda::EventInvokeConfig").values()
    function = f"{verb.capitalize()}Function"
    (config,) = [c for c in configs if c["FunctionName"] == {"Ref": function}]
    if verb in WITHOUT_ON_FAILURE:
        assert config["MaximumRetryAttempts"] == 0
        assert not config.get("DestinationConfig")
        return
    assert config["DestinationConfig"]["OnFailure"]["Destination"] == queue_of(verb)
    role = resources[f"{verb.capitalize()}Role"]["Properties"]
    assert ("sqs:SendMessage", queue_of(verb)) in list(allowed(role))


def test_every_schedule_and_rule_keeps_what_it_could_not_deliver(resources: Resources) -> None:
    assert len(deliveries(resources)) == 15
    for verb, target in deliveries(resources).values():
        assert target["DeadLetterConfig"]["Arn"] == queue_of(verb)
        assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
        assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] > 0


def test_whoever_delivers_may_write_to_the_queue_of_failures(resources: Resources) -> None:
    scheduler = list(allowed(resources["SchedulerRole"]["Properties"]))
    for schedule in of_type(resources, "AWS::Scheduler::Schedule").values():
        (queues,) = [r for action, r in scheduler if action == "sqs:SendMessage"]
        assert schedule["Target"]["DeadLetterConfig"]["Arn"] in queues
        assert schedule["Target"]["RoleArn"] == arn("SchedulerRole")
    senders = [
        (statement["Resource"], statement["Condition"]["ArnEquals"]["aws:SourceArn"])
        for policy in of_type(resources, "AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    for name, rule in of_type(resources, "AWS::Events::Rule").items():
        assert (rule["Targets"][0]["DeadLetterConfig"]["Arn"], arn(name)) in senders


def test_a_queue_of_failures_that_is_not_empty_raises_an_alarm(resources: Resources) -> None:
    alarms = of_type(resources, "AWS::CloudWatch::Alarm").values()
    watched = {
        alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0]
        for alarm in alarms
        if alarm.get("MetricName") == "ApproximateNumberOfMessagesVisible"
        and (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 0)
    }
    assert watched == set(of_type(resources, "AWS::SQS::Queue"))
    assert watched == {f"{v.capitalize()}Failures" for v in VERBS if v not in WITHOUT_ON_FAILURE}


def test_every_function_raises_an_alarm_when_it_fails(resources: Resources) -> None:
    alarms = of_type(resources, "AWS::CloudWatch::Alarm").values()
    watched = {a["Dimensions"][0]["Value"]["Ref"] for a in alarms if a.get("MetricName") == "Errors"}
    for alarm in alarms:
        parts = {m["Id"]: m["MetricStat"]["Metric"] for m in alarm.get("Metrics", []) if "MetricStat" in m}
        (total,) = [m["Expression"] for m in alarm.get("Metrics", []) if "Expression" in m] or [""]
        for name, metric in parts.items():
            if metric["MetricName"] == "Errors":
                assert f"FILL({name}, 0)" in total
                watched.add(metric["Dimensions"][0]["Value"]["Ref"])
    assert watched == {f"{verb.capitalize()}Function" for verb in VERBS}


@pytest.mark.parametrize("alarm", ["BackupAgeAlarm", "ProofAgeAlarm"])
def test_silence_raises_an_alarm(resources: Resources, alarm: str) -> None:
    properties = resources[alarm]["Properties"]
    assert properties["TreatMissingData"] == {"Fn::If": ["UseReplica", "notBreaching", "breaching"]}


@pytest.mark.parametrize(
    ("alarm", "metric"),
    [
        ("BackupAgeAlarm", "BackupAgePercent"),
        ("ProofAgeAlarm", "ProofAgePercent"),
        ("CopyAgeAlarm", "CopyAgePercent"),
        ("RestoreTimeAlarm", "RtoUsedPercent"),
    ],
)
def test_what_exceeds_its_own_database_s_limit_raises_an_alarm(
    resources: Resources, alarm: str, metric: str
) -> None:
    properties = resources[alarm]["Properties"]
    assert (properties["Namespace"], properties["MetricName"]) == ("Coffre", metric)
    assert (properties["ComparisonOperator"], properties["Threshold"]) == ("GreaterThanThreshold", 100)
    assert properties["Statistic"] == "Maximum"
    assert properties["Dimensions"] == [{"Name": "Stack", "Value": {"Ref": "AWS::StackName"}}]


def test_all_alarms_are_switched_together(resources: Resources) -> None:
    alarms = [r for r in resources.values() if r["Type"] == "AWS::CloudWatch::Alarm"]
    assert {r["Condition"] for r in alarms} == {"UseAlarms"}


def test_only_rotate_may_delete_and_nobody_may_weaken_the_vault(resources: Resources) -> None:
    may = {
        (name, action)
        for name, role in of_type(resources, "AWS::IAM::Role").items()
        for action in DESTRUCTIVE
        if grants(role, action)
    }
    assert may == {("RotateRole", "s3:DeleteObject"), ("RotateRole", "s3:DeleteObjectVersion")}


def test_rotate_can_not_delete_evidence(resources: Resources) -> None:
    role = resources["RotateRole"]["Properties"]
    targets = [r for action, r in allowed(role) if action.startswith("s3:Delete")]
    assert targets
    for target in targets:
        assert target == [{"Fn::Sub": "${Vault.Arn}/*/backups/*"}, {"Fn::Sub": "${Vault.Arn}/*/chunks/*"}]


def test_each_role_may_write_its_own_only(resources: Resources) -> None:
    writers = {
        name: [target["Fn::Sub"].removeprefix("${Vault.Arn}/") for target in as_list(targets)]
        for name, role in of_type(resources, "AWS::IAM::Role").items()
        for action, targets in allowed(role)
        if fnmatchcase("s3:PutObject", action)
    }
    assert writers == {
        "BackupRole": ["*/backups/*", "*/chunks/*"],
        "CaptureRole": ["*/backups/*", "*/chunks/*"],
        "VerifyRole": ["*/proofs/*", "*/upgrades/*", "*/copies/*", "_tickets/*"],
        "RotateRole": ["*/backups/*/notes/*"],
        "ReportRole": ["*/reports/*"],
    }


def test_only_backup_and_rotate_may_lock_and_only_rotate_may_hold(resources: Resources) -> None:
    """Retention can be made longer, never shorter: nobody may bypass it."""
    may = {
        (name, action)
        for name, role in of_type(resources, "AWS::IAM::Role").items()
        for action, _ in allowed(role)
        if "ObjectRetention" in action or "LegalHold" in action or "Bypass" in action
    }
    assert may == {
        ("BackupRole", "s3:GetObjectRetention"),
        ("BackupRole", "s3:PutObjectRetention"),
        ("CaptureRole", "s3:GetObjectRetention"),
        ("CaptureRole", "s3:PutObjectRetention"),
        ("RotateRole", "s3:GetObjectRetention"),
        ("RotateRole", "s3:PutObjectRetention"),
        ("RotateRole", "s3:GetObjectLegalHold"),
        ("RotateRole", "s3:PutObjectLegalHold"),
    }


def test_whoever_writes_backups_can_not_end_a_hold(resources: Resources) -> None:
    statement = of_the_vault(resources)["OnlyRotateHolds"]
    told = {target["Fn::Sub"].rpartition("*-")[2] for target in statement["Resource"]}
    assert told == {"hold.json", "release.json", "doubt.json"}
    assert statement["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": arn("RotateRole")}}


def test_no_lock_may_be_endless(resources: Resources) -> None:
    statement = of_the_vault(resources)["NoEndlessLocks"]
    longest = statement["Condition"]["NumericGreaterThan"]["s3:object-lock-remaining-retention-days"]
    assert int(longest) == LONGEST.days


def test_roles_are_written_out_and_hold_no_convenience_policy(
    template: dict[str, Any], resources: Resources
) -> None:
    written = {n for n, r in template["Resources"].items() if r["Type"] == "AWS::IAM::Role"}
    assert set(of_type(resources, "AWS::IAM::Role")) == written, "SAM made a role of its own"
    for role in of_type(resources, "AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            assert "Policies" not in resource["Properties"]
            assert "Role" in resource["Properties"]
    assert not of_type(resources, "AWS::IAM::Policy")
    assert not of_type(resources, "AWS::IAM::ManagedPolicy")


def test_every_permission_names_its_actions_and_its_resources(resources: Resources) -> None:
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            for statement in branches(policy["PolicyDocument"]["Statement"]):
                assert "NotAction" not in statement, name
                assert "NotResource" not in statement, name
        for action, resource in allowed(role):
            assert "*" not in action, f"{name}: {action}"
            if "*" in as_list(resource):
                assert action in WITHOUT_RESOURCE, f"{name}: {action} on *"


def test_the_only_policy_that_allows_everything_is_the_keys_own(resources: Resources) -> None:
    statement, *others = branches(resources["VaultKey"]["Properties"]["KeyPolicy"]["Statement"])
    # AWS's form for «the account's IAM decides»; `Resource: *` is this key.
    assert statement["Principal"] == {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
    assert {one["Sid"]: as_list(one["Action"]) for one in others} == {
        "ReplicasOfAnotherStack": ["kms:Encrypt", "kms:GenerateDataKey"],
        "ReadersOfAnotherStack": ["kms:Decrypt"],
    }
    for sid, one in of_the_vault(resources).items():
        assert (one["Effect"] == "Deny") == (not sid.endswith("OfAnotherStack"))


def test_prove_may_only_log(resources: Resources, functions: Resources) -> None:
    role = resources["ProveRole"]["Properties"]
    assert list(allowed(role)) == [
        ("logs:CreateLogStream", arn("ProveLogs")),
        ("logs:PutLogEvents", arn("ProveLogs")),
    ]
    for prover in PROVERS:
        assert functions[prover]["Role"] == arn("ProveRole")
        assert functions[prover]["TracingConfig"] == {"Mode": "PassThrough"}
        assert "VpcConfig" not in functions[prover]


def test_only_verify_invokes_prove(resources: Resources) -> None:
    callers = {
        (name, one["Fn::GetAtt"][0])
        for name, role in of_type(resources, "AWS::IAM::Role").items()
        for action, resource in allowed(role)
        if action == "lambda:InvokeFunction"
        for one in as_list(resource)
        if "Fn::GetAtt" in one and one["Fn::GetAtt"][0].startswith("Prove")
    }
    assert callers == {("VerifyRole", f"{prover.capitalize()}Function") for prover in PROVERS}
    assert not {verb for verb, _ in deliveries(resources).values()} & set(PROVERS)
    permissions = of_type(resources, "AWS::Lambda::Permission").values()
    for prover in PROVERS:
        assert {"Ref": f"{prover.capitalize()}Function"} not in [p["FunctionName"] for p in permissions]


def test_nothing_in_the_vault_expires_but_tickets(resources: Resources) -> None:
    for rule in resources["Vault"]["Properties"]["LifecycleConfiguration"]["Rules"]:
        expires = [key for key in rule if "Expiration" in key or "Transition" in key]
        assert not expires or rule["Prefix"] == "_tickets/", rule["Id"]


def test_the_vault_outlives_the_stack(resources: Resources) -> None:
    for name in ("Vault", "VaultKey", "VaultPolicy", "Catalogue"):
        assert resources[name]["DeletionPolicy"] == "Retain"
        assert resources[name]["UpdateReplacePolicy"] == "Retain"


def test_the_vault_is_versioned_private_and_tells_of_new_objects(resources: Resources) -> None:
    vault = resources["Vault"]["Properties"]
    assert vault["VersioningConfiguration"] == {"Status": "Enabled"}
    assert all(vault["PublicAccessBlockConfiguration"].values())
    assert vault["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert vault["NotificationConfiguration"]["EventBridgeConfiguration"] == {"EventBridgeEnabled": True}


def test_the_vaults_policy_refuses_what_would_lose_a_backup(resources: Resources) -> None:
    statements = of_the_vault(resources)
    assert statements["OnlyTls"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    overwrite = statements["OnlyNewObjects"]
    assert overwrite["Action"] == "s3:PutObject"
    assert overwrite["Condition"] == {
        "Null": {"s3:if-none-match": "true"},
        "Bool": {"s3:ObjectCreationOperation": "true"},
    }
    deletion = statements["OnlyRotateDeletes"]
    assert deletion["Action"] == ["s3:DeleteObject", "s3:DeleteObjectVersion"]
    assert deletion["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": arn("RotateRole")}}
    functions = statements["FunctionsOnlyUseObjects"]
    assert not {a for a in DESTRUCTIVE if a in functions["NotAction"]} - {*deletion["Action"]}
    assert functions["Condition"]["ArnEquals"]["aws:PrincipalArn"] == [
        arn(f"{verb.capitalize()}Role")
        for verb in (
            "backup",
            "hold",
            "capture",
            "machine",
            "load",
            "verify",
            "prove",
            "restore",
            "rotate",
            "health",
            "report",
        )
    ]


def test_what_schedules_send_is_what_functions_accept(resources: Resources) -> None:
    models: dict[str, type[Event]] = {
        "backup": BackupRequest,
        "verify": RecheckRequest,
        "copy": CopyRequest,
        "restore": DrillRequest,
        "rotate": RotateRequest,
        "health": HealthRequest,
        "report": ReportRequest,
    }
    sent = {}
    for name, (verb, target) in deliveries(resources).items():
        if "Input" in target:
            given = target["Input"]["Fn::Sub"] if isinstance(target["Input"], dict) else target["Input"]
            text = given.replace("<aws.scheduler.scheduled-time>", "2026-11-20T02:30:00Z")
            event = json.loads(text.replace("${RecheckDays}", "30"))
            sent[name] = parse(models["copy" if event.get("action") == "copy" else verb], event)
    assert sorted(e.type for e in sent.values() if isinstance(e, BackupRequest)) == [
        "daily",
        "hourly",
        "monthly",
        "weekly",
    ]
    assert [e.dry_run for e in sent.values() if isinstance(e, RotateRequest)] == [False]
    assert len(sent) == len(of_type(resources, "AWS::Scheduler::Schedule"))


def test_schedules_fire_when_they_say(resources: Resources) -> None:
    for schedule in of_type(resources, "AWS::Scheduler::Schedule").values():
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
        assert schedule["ScheduleExpressionTimezone"] == {"Ref": "TimeZone"}
        assert schedule["Name"]["Fn::Sub"].startswith("${AWS::StackName}-")
