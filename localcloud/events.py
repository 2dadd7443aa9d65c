"""Event delivery: S3 to EventBridge, EventBridge rules to their targets, schedules by hand.

The shapes are AWS's own: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html and
https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
"""

import itertools
import json
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from jsonpath_ng.parser import JsonPathParser
from moto.events.utils import EventTemplateParser

from localcloud.background import Background
from localcloud.targets import Targets

_REASONS = {
    "ObjectCreated:Put": "PutObject",
    "ObjectCreated:Post": "POST Object",
    "ObjectCreated:Copy": "CopyObject",
    "ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
    "ObjectRemoved:Delete": "DeleteObject",
    "ObjectRemoved:DeleteMarkerCreated": "DeleteObject",
}
_sequence = itertools.count(time.time_ns())


@dataclass(frozen=True)
class Schedule:
    """A schedule of the template.

    Attributes:
        name: its name.
        arn: its ARN.
        expression: ``rate(...)``, ``cron(...)`` or ``at(...)``.
        timezone: IANA name.
        state: ``ENABLED`` or ``DISABLED``; firing by hand works with both.
        target: as in the template, references resolved (``Arn``, ``Input``, ``DeadLetterConfig`` ...).
    """

    name: str
    arn: str
    expression: str
    timezone: str
    state: str
    target: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The same as a dictionary for JSON."""
        return asdict(self)


def iso_time(moment: float | None = None) -> str:
    """A time as AWS writes it into events: UTC, whole seconds."""
    when = datetime.now(UTC) if moment is None else datetime.fromtimestamp(moment, UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def object_event(account: str, region: str, bucket: str, kind: str, key: Any) -> dict[str, Any]:
    """The EventBridge event of a change in a bucket.

    Args:
        account: account id.
        region: AWS region.
        bucket: name of the bucket.
        kind: S3's name of the event without ``s3:``, such as ``ObjectCreated:Put``.
        key: moto's object or delete marker.
    """
    thing: dict[str, Any] = {"key": key.name}
    detail: dict[str, Any] = {"version": "0", "bucket": {"name": bucket}, "object": thing}
    created = kind.startswith("ObjectCreated:")
    if created:
        thing.update({"size": key.size, "etag": key.etag.strip('"')})
    elif kind.startswith("ObjectRemoved:"):
        marker = kind.endswith("DeleteMarkerCreated")
        detail["deletion-type"] = "Delete Marker Created" if marker else "Permanently Deleted"
    version = getattr(key, "version_id", None)
    if version and version != "null":
        thing["version-id"] = version
    thing["sequencer"] = f"{next(_sequence):016X}"
    detail.update({"request-id": uuid.uuid4().hex[:16].upper(), "requester": account})
    detail.update({"source-ip-address": "127.0.0.1", "reason": _REASONS.get(kind, kind)})
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Object Created" if created else "Object Deleted",
        "source": "aws.s3",
        "account": account,
        "time": iso_time(),
        "region": region,
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": detail,
    }


class Deliveries:
    """Takes events to the targets of rules and schedules, each in a thread of its own.

    A target gets them in the order in which they were published, which AWS doesn't promise.
    """

    def __init__(self, background: Background, targets: Targets) -> None:
        self._background = background
        self._targets = targets
        self._last: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def to_target(self, target: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Deliver a rule's event to one of the rule's targets.

        Args:
            target: as in ``PutTargets``.
            event: the event; ``time`` may be seconds since 1970, as moto has it inside.
        """
        public = {k: v for k, v in event.items() if k != "ingestion-time"}
        if isinstance(public["time"], int | float):
            public["time"] = iso_time(public["time"])
        self.send(target, _input(target, public))

    def send(self, target: Mapping[str, Any], body: str) -> None:
        """Deliver a text to a target; on failure to its dead-letter queue and the list of failures."""
        arn, done = str(target["Arn"]), threading.Event()
        with self._lock:
            before, self._last[arn] = self._last.get(arn), done

        def deliver() -> None:
            if before is not None:
                before.wait()
            try:
                self._targets.send(arn, body)
            except Exception as error:
                self._background.fail("delivery", arn, repr(error), body)
                queue = target.get("DeadLetterConfig", {}).get("Arn")
                if queue:
                    self._targets.send(queue, body, {"TARGET_ARN": arn, "ERROR_MESSAGE": repr(error)[:1000]})
            finally:
                done.set()

        self._background.run(arn, body.encode(), deliver)

    def fire(self, schedule: Schedule, scheduled_time: str | None) -> dict[str, str]:
        """Deliver a schedule's input to its target now.

        Args:
            schedule: the schedule.
            scheduled_time: ISO 8601 time for ``<aws.scheduler.scheduled-time>``; now if None.

        Returns:
            ``schedule``, ``target``, ``scheduled_time``, ``execution_id`` and ``input``.
        """
        moment = scheduled_time or iso_time()
        execution = str(uuid.uuid4())
        body = str(schedule.target.get("Input") or "{}")
        values = {
            "scheduled-time": moment,
            "execution-id": execution,
            "schedule-arn": schedule.arn,
            "attempt-number": "1",
        }
        for name, value in values.items():
            body = body.replace(f"<aws.scheduler.{name}>", value)
        self.send(schedule.target, body)
        return {
            "schedule": schedule.name,
            "target": str(schedule.target["Arn"]),
            "scheduled_time": moment,
            "execution_id": execution,
            "input": body,
        }


def _input(target: Mapping[str, Any], event: dict[str, Any]) -> str:
    """What a target gets of an event."""
    if "Input" in target:
        return str(target["Input"])
    if path := target.get("InputPath"):
        return json.dumps(JsonPathParser().parse(path).find(event)[0].value)
    if transformer := target.get("InputTransformer"):
        made: Any = EventTemplateParser.parse(
            transformer["InputTemplate"],
            transformer.get("InputPathsMap", {}),
            {**event, "ingestion-time": event["time"]},  # type: ignore[typeddict-item]
        )
        return json.dumps(made)
    return json.dumps(event)
