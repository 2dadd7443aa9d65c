"""Bringing a translated template up in moto, and what its CloudFormation drops by hand."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.parsing import OutputMap, ResourceMap, clean_json

from localcloud import machines
from localcloud.buckets import configure_bucket, put_policy
from localcloud.errors import TemplateError
from localcloud.events import Schedule
from localcloud.functions import FunctionSettings
from localcloud.template import Template, without_references

ACCOUNT = "123456789012"
"""The account that moto works for."""


@dataclass
class Deployment:
    """What stands after a deployment.

    Attributes:
        physical: physical id by logical id.
        types: type by logical id.
        outputs: values of the template's outputs.
        functions: settings by physical name.
        schedules: by name.
        not_simulated: what the template has and nothing stands for, each with its type.
    """

    physical: dict[str, str]
    types: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)
    functions: dict[str, FunctionSettings] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    not_simulated: list[str] = field(default_factory=list)

    def first(self, kind: str) -> str | None:
        """Physical id of the first resource of a type, in the template's order."""
        return next(
            (self.physical[n] for n, t in self.types.items() if t == kind and n in self.physical), None
        )


class Resolver:
    """Resolves references and conditions with what moto's CloudFormation has created."""

    def __init__(self, template: Template, resources: ResourceMap) -> None:
        self._resources = resources
        known = set(template.deployable["Resources"])
        self._unknown = set(template.cloudformation["Resources"]) - known

    def applies(self, item: Mapping[str, Any]) -> bool:
        """Whether the condition of a resource or an output holds; it does if there is none."""
        condition = item.get("Condition")
        return condition is None or bool(self._resources.lazy_condition_map[condition])

    def resolve(self, node: Any) -> Any:
        """A copy with all intrinsic functions replaced by their values."""
        return clean_json(without_references(node, self._unknown), self._resources)


def deploy(
    template: Template,
    client: Callable[[str], Any],
    *,
    stack: str,
    region: str,
    parameters: Mapping[str, str],
    opt: Path,
    python_path: Mapping[str, tuple[Path, ...]],
) -> Deployment:
    """Create everything that a template describes.

    Args:
        template: translated.
        client: makes a boto3 client of a service.
        stack: name of the stack.
        region: AWS region.
        parameters: values that differ from the defaults.
        opt: folder that stands for ``/opt``.
        python_path: what each layer adds to Python's path.

    Raises:
        TemplateError: CloudFormation refuses the template.
    """
    values = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    cloudformation = client("cloudformation")
    try:
        cloudformation.create_stack(
            StackName=stack,
            TemplateBody=json.dumps(template.deployable),
            Parameters=values,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        )
    except ClientError as error:
        raise TemplateError(f"the stack can't be created: {error}") from error
    (made,) = cloudformation_backends[ACCOUNT][region].stacks.values()
    resolver = Resolver(template, made.resource_map)
    rows = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    created = {
        row["LogicalResourceId"]: row["PhysicalResourceId"] for row in rows if "PhysicalResourceId" in row
    }
    resources = template.cloudformation["Resources"]
    deployment = Deployment(created, {name: resource["Type"] for name, resource in resources.items()})
    deployment.outputs = _outputs(template, resolver, made)
    _create_dropped(template, resolver, client, deployment, region)
    for logical in template.task_roots:
        if logical in created:
            settings = _settings(
                logical,
                created[logical],
                template=template,
                resolver=resolver,
                region=region,
                opt=opt,
                python_path=python_path,
            )
            deployment.functions[settings.name] = settings
    return deployment


def _outputs(template: Template, resolver: Resolver, made: Any) -> dict[str, str]:
    """Outputs, resolved and put where DescribeStacks finds them."""
    outputs = {
        name: {**output, "Value": str(resolver.resolve(output["Value"]))}
        for name, output in template.cloudformation.get("Outputs", {}).items()
        if resolver.applies(output)
    }
    made.output_map = OutputMap(made.resource_map, {"Outputs": outputs}, made.stack_id)
    return {name: output["Value"] for name, output in outputs.items()}


def _create_dropped(
    template: Template, resolver: Resolver, client: Callable[[str], Any], deployment: Deployment, region: str
) -> None:
    """Create or complete the resources that moto's CloudFormation drops or makes in part."""
    for logical, resource in template.cloudformation["Resources"].items():
        if not resolver.applies(resource):
            continue
        kind = resource["Type"]
        if template.not_simulated(logical):
            deployment.not_simulated.append(f"{kind} {logical}")
        physical = deployment.physical.get(logical, "")
        if kind in ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::DynamoDB::Table", "AWS::Events::Rule"):
            properties = resolver.resolve(resource.get("Properties", {}))
            if kind == "AWS::S3::Bucket":
                configure_bucket(client("s3"), ACCOUNT, physical, properties)
            elif kind == "AWS::S3::BucketPolicy":
                put_policy(client("s3"), properties)
                deployment.not_simulated.append(f"{kind} {logical} (kept, not enforced)")
            elif kind == "AWS::DynamoDB::Table":
                _configure_table(client("dynamodb"), physical, properties)
            elif "ScheduleExpression" in properties:
                _note_rule(deployment, physical, properties, region)
        elif kind in ("AWS::Scheduler::Schedule", machines.MACHINE):
            deployment.physical[logical] = _create_missing(
                client, deployment, logical, kind, resolver.resolve(resource["Properties"])
            )


def _create_missing(
    client: Callable[[str], Any],
    deployment: Deployment,
    logical: str,
    kind: str,
    properties: Mapping[str, Any],
) -> str:
    """Create what moto's CloudFormation can't; its physical id."""
    if kind == machines.MACHINE:
        return machines.create(client("stepfunctions"), properties)
    schedule = _create_schedule(client("scheduler"), logical, properties)
    deployment.schedules[schedule.name] = schedule
    return schedule.name


def _configure_table(dynamodb: Any, table: str, properties: Mapping[str, Any]) -> None:
    if ttl := properties.get("TimeToLiveSpecification"):
        dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=ttl)
    if recovery := properties.get("PointInTimeRecoverySpecification"):
        dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=recovery)


def _note_rule(deployment: Deployment, name: str, properties: Mapping[str, Any], region: str) -> None:
    """A rule with a schedule is fired by hand like a schedule; without an Input it sends AWS's event."""
    targets = properties.get("Targets", [])
    for target in targets:
        arn = f"arn:aws:events:{region}:{ACCOUNT}:rule/{name}"
        event = {
            "version": "0",
            "id": "<aws.scheduler.execution-id>",
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT,
            "time": "<aws.scheduler.scheduled-time>",
            "region": region,
            "resources": [arn],
            "detail": {},
        }
        complete = {"Input": json.dumps(event), **target}
        expression, state = properties["ScheduleExpression"], properties.get("State", "ENABLED")
        key = name if len(targets) == 1 else f"{name}-{target['Id']}"
        deployment.schedules[key] = Schedule(key, arn, expression, "UTC", state, complete)


def _create_schedule(scheduler: Any, logical: str, properties: Mapping[str, Any]) -> Schedule:
    name = properties.get("Name", logical)
    # A group would have to exist; the name is enough here.
    arguments = {key: value for key, value in properties.items() if key not in ("Name", "GroupName")}
    arn = scheduler.create_schedule(Name=name, **arguments)["ScheduleArn"]
    zone = properties.get("ScheduleExpressionTimezone", "UTC")
    state = properties.get("State", "ENABLED")
    return Schedule(name, arn, properties["ScheduleExpression"], zone, state, properties["Target"])


def _settings(
    logical: str,
    name: str,
    *,
    template: Template,
    resolver: Resolver,
    region: str,
    opt: Path,
    python_path: Mapping[str, tuple[Path, ...]],
) -> FunctionSettings:
    properties = resolver.resolve(template.cloudformation["Resources"][logical]["Properties"])
    later = _event_invoke_config(logical, template, resolver)
    destinations = later.get("DestinationConfig", {})
    variables = properties.get("Environment", {}).get("Variables", {})
    reserved = properties.get("ReservedConcurrentExecutions")
    return FunctionSettings(
        logical=logical,
        name=name,
        arn=f"arn:aws:lambda:{region}:{ACCOUNT}:function:{name}",
        handler=properties["Handler"],
        runtime=properties["Runtime"],
        task_root=template.task_roots[logical],
        python_path=tuple(path for layer in template.layers_of[logical] for path in python_path[layer]),
        environment={key: _here(str(value), opt) for key, value in variables.items()},
        timeout=float(properties.get("Timeout", 3)),
        memory=int(properties.get("MemorySize", 128)),
        reserved=None if reserved is None else int(reserved),
        retries=int(later.get("MaximumRetryAttempts", 2)),
        on_failure=destinations.get("OnFailure", {}).get("Destination", ""),
        on_success=destinations.get("OnSuccess", {}).get("Destination", ""),
        dead_letters=properties.get("DeadLetterConfig", {}).get("TargetArn", ""),
    )


def _event_invoke_config(logical: str, template: Template, resolver: Resolver) -> dict[str, Any]:
    for resource in template.cloudformation["Resources"].values():
        if resource["Type"] == "AWS::Lambda::EventInvokeConfig":
            properties = resource["Properties"]
            if properties.get("FunctionName") == {"Ref": logical} and resolver.applies(resource):
                resolved: dict[str, Any] = resolver.resolve(properties)
                return resolved
    return {}


def _here(value: str, opt: Path) -> str:
    """A path of Lambda's on this machine: below ``/opt``, or ``/tmp`` itself; anything else as it is."""
    if value == "/tmp":  # noqa: S108 - the only folder that Lambda lets a function write
        return tempfile.gettempdir()
    return f"{opt}/{value.removeprefix('/opt/')}" if value.startswith("/opt/") else value
