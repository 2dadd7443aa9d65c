"""What is changed inside moto 5.2.5, all in one place and reversible.

* object bodies go to files (``bodies``),
* S3 notifications and EventBridge rules reach Lambda functions and queues, in AWS's shapes,
* functions that moto itself would run in Docker (streams, topics) run as asynchronous invocations,
* objects of buckets that are replicated say so (``replication``),
* a bucket policy is kept but not enforced: moto ignores conditions, so a ``Deny`` of plain HTTP would
  deny everything,
* SQS long polling doesn't hold the lock,
* state machines run (``machines``),
* KMS keys that are disabled or wait for their deletion do nothing,
* update expressions of DynamoDB (``expressions``) and templates of JSON cost less,
* nobody keeps what nothing needs any more (``lean``).
"""

import copy
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.cloudformation.models import Stack
from moto.core.exceptions import JsonRESTError
from moto.events.models import Rule, events_backends
from moto.iam.access_control import PermissionResult
from moto.kms.models import KmsBackend
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server import werkzeug_app
from moto.s3 import models as s3_models
from moto.s3 import notifications
from moto.s3.models import FakeBucket, FakeKey
from moto.sqs.models import SQSBackend

from localcloud import expressions, machines
from localcloud.bodies import Bodies
from localcloud.events import Deliveries, object_event
from localcloud.lean import keep_no_list_of_instances
from localcloud.replication import reporting

_OURS = ("lambda", "sqs", "sns")
_POLL_SECONDS = 0.05


class Patches:
    """Changes to moto's classes and modules that can be taken back."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []

    def replace(self, owner: Any, name: str, value: Any) -> Any:
        """Set an attribute of a class or module, and return what stood there."""
        before = getattr(owner, name)
        self._undo.append((owner, name, before))
        setattr(owner, name, value)
        return before

    def undo(self) -> None:
        """Restore everything."""
        while self._undo:
            setattr(*self._undo.pop())


def install(
    bodies: Bodies,
    deliveries: Deliveries,
    invoke_later: Callable[[str, bytes], object],
    sqs_lock: AbstractContextManager[Any],
) -> Patches:
    """Change moto for one local cloud.

    Args:
        bodies: where objects' bodies go.
        deliveries: takes events to targets.
        invoke_later: takes a function's name and an event.
        sqs_lock: the lock of the SQS service.

    Returns:
        The changes, for ``undo``.
    """
    expressions.install()
    keep_no_list_of_instances()
    patches = Patches()
    patches.replace(s3_models, "tempfile", bodies)
    patches.replace(werkzeug_app, "DISABLE_GLOBAL_CORS", True)
    patches.replace(FakeBucket, "get_permission", lambda *_: PermissionResult.NEUTRAL)
    patches.replace(FakeKey, "response_dict", reporting(FakeKey.response_dict))
    patches.replace(LambdaFunction, "invoke", _invoke(invoke_later))
    patches.replace(Rule, "send_to_targets", _send_to_targets(Rule.send_to_targets, deliveries))
    patches.replace(notifications, "_send_event_bridge_message", _bucket_to_bus)
    patches.replace(SQSBackend, "receive_message", _receive_message(SQSBackend.receive_message, sqs_lock))
    machines.install(patches.replace)
    patches.replace(KmsBackend, "decrypt", _if_usable(KmsBackend.decrypt))
    patches.replace(KmsBackend, "generate_data_key", _if_usable(KmsBackend.generate_data_key))
    patches.replace(Stack, "_parse_template", _as_json(Stack._parse_template))
    return patches


def _as_json(original: Callable[..., None]) -> Callable[[Stack], None]:
    """moto reads a template of JSON as YAML, which takes half a second."""

    def parse(self: Stack) -> None:
        try:
            self.template_dict = json.loads(str(self.template))
        except ValueError:
            original(self)

    return parse


def _if_usable(operation: Callable[..., Any]) -> Callable[..., Any]:
    """An operation of KMS as AWS does it: only with a key that is enabled."""

    def checked(backend: Any, **given: Any) -> Any:
        key = backend.describe_key(backend.any_id_to_key_id(given["key_id"]))
        if key.key_state == "Disabled":
            raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")
        if key.key_state != "Enabled":
            raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        return operation(backend, **given)

    return checked


def _invoke(invoke_later: Callable[[str, bytes], object]) -> Callable[..., bytes]:
    def invoke(self: LambdaFunction, body: str, *_headers: Any) -> bytes:
        invoke_later(self.function_name, body.encode())
        return b""

    return invoke


def _send_to_targets(original: Callable[..., None], deliveries: Deliveries) -> Callable[..., None]:
    """moto's rules reach logs, archives, buses and queues; the rest silently gets nothing."""

    def send_to_targets(self: Rule, original_event: Any, transform_input: bool = True) -> None:
        # To moto a rule without a pattern, which is a schedule, matches everything.
        if self.state != "ENABLED" or not self.event_pattern.get_pattern():
            return
        if not self.event_pattern.matches_event(original_event):
            return
        others = copy.copy(self)
        others.targets = []
        for target in self.targets:
            if target["Arn"].split(":")[2] in _OURS:
                deliveries.to_target(target, original_event)
            else:
                others.targets.append(target)
        if others.targets:
            original(others, original_event, transform_input)

    return send_to_targets


def _bucket_to_bus(account_id: str, bucket: FakeBucket, event_name: str, key: Any) -> None:
    # Members of moto's enumeration are strings too: "s3:ObjectCreated:Put".
    kind = str(getattr(event_name, "value", event_name)).removeprefix("s3:")
    # moto says "ObjectTagging:Put" after each PUT, tags or not.
    if not kind.startswith(("ObjectCreated:", "ObjectRemoved:")):
        return
    event = object_event(account_id, bucket.region_name, bucket.name, kind, key)
    bus = events_backends[account_id][bucket.region_name].event_buses["default"]
    for rule in list(bus.rules.values()):
        rule.send_to_targets(event, transform_input=False)  # type: ignore[arg-type]


def _receive_message(original: Callable[..., Any], lock: AbstractContextManager[Any]) -> Callable[..., Any]:
    def receive_message(
        self: SQSBackend, queue_name: str, count: int, wait_seconds_timeout: int, *args: Any, **kwargs: Any
    ) -> Any:
        end = time.monotonic() + wait_seconds_timeout
        while True:
            with lock:
                found = original(self, queue_name, count, 0, *args, **kwargs)
            if found or time.monotonic() >= end:
                return found
            time.sleep(_POLL_SECONDS)

    return receive_message


def reset() -> None:
    """Forget everything that moto's services hold."""
    moto_api_backend.reset()
