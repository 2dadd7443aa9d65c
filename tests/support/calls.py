"""What AWS was asked for: requests at the endpoint of a local cloud, as IAM would see them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

from localcloud.server import Response

_CALLER = re.compile(r"Credential=([^/]+)/")
_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?")
_SUBRESOURCES = {
    ("GET", "versions"): "s3:ListBucketVersions",
    ("GET", "versioning"): "s3:GetBucketVersioning",
    ("GET", "lifecycle"): "s3:GetLifecycleConfiguration",
    ("GET", "object-lock"): "s3:GetBucketObjectLockConfiguration",
    ("GET", "retention"): "s3:GetObjectRetention",
    ("PUT", "retention"): "s3:PutObjectRetention",
    ("GET", "legal-hold"): "s3:GetObjectLegalHold",
    ("PUT", "legal-hold"): "s3:PutObjectLegalHold",
    ("GET", "replication"): "s3:GetReplicationConfiguration",
    ("GET", "encryption"): "s3:GetEncryptionConfiguration",
}
KEYS = {"second-vault": "the copy's key"}
"""Keys of buckets other than the vault."""
_XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"
REGION, ACCOUNT = "us-east-1", "123456789012"


@dataclass(frozen=True)
class Call:
    """One call that IAM would be asked about.

    Attributes
    ----------
    caller:
        The name of the function whose credentials signed it.
    context:
        Condition keys, lower case, sorted.
    """

    caller: str
    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


@dataclass
class Recorder:
    """A route of the local cloud that answers nothing and remembers what it sees."""

    calls: set[Call] = field(default_factory=set)

    def __call__(self, method: str, path: str, environ: dict[str, Any], body: bytes) -> Response | None:
        """Take down one request of a function."""
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        signed = (
            environ.get("HTTP_AUTHORIZATION", "") or "Credential=" + query.get("X-Amz-Credential", [""])[0]
        )
        caller = _CALLER.search(signed)
        if caller is not None and caller[1] != "local":
            for action, resource, context in _asked(method, path, query, environ, body):
                self.calls.add(Call(caller[1], action, resource, tuple(sorted(context.items()))))
        return None


Asked = Iterator[tuple[str, str, dict[str, str]]]


def _asked(
    method: str, path: str, query: Mapping[str, list[str]], environ: Mapping[str, Any], body: bytes
) -> Asked:
    target = str(environ.get("HTTP_X_AMZ_TARGET", ""))
    invoked = _INVOKE.fullmatch(path)
    if invoked:
        yield "lambda:InvokeFunction", _arn("lambda", f"function:{unquote(invoked[1])}"), {}
    elif target:
        yield from _json_call(target, json.loads(body))
    else:
        yield from _s3_call(method, path, query, environ, body)


def _json_call(target: str, content: dict[str, Any]) -> Asked:
    service, _, operation = target.partition(".")
    if service.startswith("DynamoDB"):
        yield f"dynamodb:{operation}", _arn("dynamodb", f"table/{content['TableName']}"), {}
    elif service == "AWSStepFunctions":
        # A token belongs to an execution of the machine that waits, here the only one.
        machine = _arn("states", "stateMachine:local-backup")
        resource = content.get("executionArn") or content.get("stateMachineArn") or machine
        yield f"states:{operation}", resource, {}
    elif service == "AmazonSSM":
        name = content.get("Name") or content["Path"]
        yield f"ssm:{operation}", _arn("ssm", f"parameter{name}"), {}
    elif service == "secretsmanager":
        name = content["SecretId"]
        yield (
            f"secretsmanager:{operation}",
            name if name.startswith("arn:") else _arn("secretsmanager", f"secret:{name}-AbCdEf"),
            {},
        )
    elif service == "AWSEvents":
        for entry in content["Entries"]:
            bus = _arn("events", f"event-bus/{entry['EventBusName']}")
            yield f"events:{operation}", bus, {"events:source": entry["Source"]}
    elif service.startswith("GraniteService"):
        yield f"cloudwatch:{operation}", "*", {}
    elif service == "TrentService":
        context = content.get("EncryptionContext", {})
        keys = {f"kms:encryptioncontext:{name.lower()}": value for name, value in context.items()}
        yield f"kms:{operation}", content["KeyId"], keys
    else:
        yield f"{service}:{operation}", "*", {}


def _s3_call(
    method: str, path: str, query: Mapping[str, list[str]], environ: Mapping[str, Any], body: bytes
) -> Asked:
    bucket, _, key = path.encode("latin-1").decode().lstrip("/").partition("/")
    resource = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"
    context = {"aws:securetransport": "true"}
    for (verb, name), action in _SUBRESOURCES.items():
        if method == verb and name in query:
            yield action, resource, context
            return
    if method == "POST" and "delete" in query:
        for doomed in ElementTree.fromstring(body).iter(f"{_XML}Object"):  # noqa: S314 - our own client's
            version = "Version" if doomed.find(f"{_XML}VersionId") is not None else ""
            yield f"s3:DeleteObject{version}", f"{resource}/{doomed.findtext(f'{_XML}Key')}", context
        return
    if not key:
        yield {"GET": "s3:ListBucket"}.get(method, f"s3:{method} {sorted(query)}"), resource, context
        return
    version = "Version" if "versionId" in query else ""
    via = {"kms:viaservice": f"s3.{REGION}.amazonaws.com"}
    if method in ("GET", "HEAD"):
        yield f"s3:GetObject{version}", resource, context
        # SSE-KMS: S3 asks KMS on the caller's behalf, under the key of the bucket.
        yield "kms:Decrypt", KEYS.get(bucket, "the vault's key"), via
    elif method == "PUT" and not query.keys() - {"x-id"}:
        if "HTTP_IF_NONE_MATCH" in environ:
            context["s3:if-none-match"] = environ["HTTP_IF_NONE_MATCH"]
        yield "s3:PutObject", resource, {**context, "s3:objectcreationoperation": "true"}
        yield "kms:GenerateDataKey", "the vault's key", via
    elif method == "DELETE":
        yield f"s3:DeleteObject{version}", resource, context
    else:
        yield f"s3:{method} {sorted(query)}", resource, context


def _arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"
