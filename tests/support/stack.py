"""A deployed stack to test against: the real template in a local cloud, and short ways to talk with it."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

import localcloud
from coffre.catalogue.index import Catalogue
from coffre.databases.registration import Registration, encode
from coffre.databases.registry import Registry
from coffre.ids import utc_now
from coffre.notify.publisher import Publisher
from coffre.vault.keys import SealKeys
from coffre.vault.layout import Layout
from coffre.vault.manifest import Manifest
from coffre.vault.reader import load_manifest, read_part
from coffre.vault.store import ObjectStore
from coffre.workers import Message, WorkerPool, worker_pool
from tests.support.waiting import PATIENCE_SECONDS

KEY = "local"


class FunctionError(Exception):
    """A function ended with an error; ``code`` is Coffre's."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.code = message.partition("]")[0].removeprefix("[")


@dataclass(frozen=True)
class Event:
    """What a function published."""

    type: str
    detail: dict[str, Any]


class Stack:
    """A running local cloud.

    Attributes
    ----------
    state:
        The cloud's folder: its logs and its layers.
    """

    def __init__(self, template: Path, state: Path) -> None:
        self.state = state
        self.info = localcloud.start_detached(template, state)
        self._numbers = itertools.count(1)
        self._events: list[Event] = []
        self._clients: dict[str, Any] = {}
        self._queue = self._listen()

    def close(self) -> None:
        """End the cloud with all its functions."""
        localcloud.down(self.state)

    # AWS

    def client(self, service: str) -> Any:
        """A boto3 client of this cloud; each service's is made once."""
        if service not in self._clients:
            self._clients[service] = self._make_client(service)
        return self._clients[service]

    def _make_client(self, service: str) -> Any:
        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self.info["endpoint"],
            region_name=self.info["region"],
            aws_access_key_id=KEY,
            aws_secret_access_key=KEY,
            config=Config(
                read_timeout=900,
                max_pool_connections=16,
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    @cached_property
    def s3(self) -> Any:
        """A client of the store."""
        return self.client("s3")

    @property
    def bucket(self) -> str:
        """The vault's bucket."""
        return str(self.info["bucket"])

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use this cloud, as a function has it."""
        return {
            "AWS_ENDPOINT_URL": self.info["endpoint"],
            "AWS_DEFAULT_REGION": self.info["region"],
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
        }

    # Functions

    def call(self, verb: str, **event: Any) -> dict[str, Any]:
        """Invoke a function, as AWS does, and wait for its answer.

        Raises
        ------
        FunctionError
            If it ended with an error.
        """
        name = f"{self.info['stack']}-{verb}"
        answer = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
        content: dict[str, Any] = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise FunctionError(str(content.get("errorType")), str(content.get("errorMessage")))
        return content

    def backup(self, database: str, **event: Any) -> dict[str, Any]:
        """Back up at a time of its own, so that each call makes another backup."""
        return self.call("backup", **{**self.request(database), **event})

    def request(self, database: str) -> dict[str, Any]:
        """The event that asks for a backup at a time that no other event names."""
        number = next(self._numbers)
        time = f"2026-11-02T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z"
        return {"type": "manual", "scheduled_time": time, "database": database}

    def restore(self, database: str, url: str, **event: Any) -> dict[str, Any]:
        """Ask for a plan, confirm it, and run it."""
        request = {"database": database, "target_secret": self.target(url), **event}
        token = self.call("restore", action="plan", **request)["token"]
        return self.call("restore", action="run", token=token, **request)

    def fire(self, schedule: str, time: str) -> None:
        """Fire one of the template's schedules."""
        localcloud.fire(self.state, f"{self.info['stack']}-{schedule}", time)

    def drain(self) -> None:
        """Wait until everything that was started has ended."""
        assert localcloud.drain(self.state, PATIENCE_SECONDS), "asynchronous work does not end"

    def failures(self) -> list[dict[str, str]]:
        """Deliveries and asynchronous invocations that failed for good."""
        return localcloud.failures(self.state)

    # Databases and what is known of them

    def register(self, name: str, url: str, ca: str = "", **decisions: Any) -> str:
        """Register a database, or register it anew; its name."""
        secret = f"coffre/{self.info['stack']}/databases/{name}"
        self._put_secret(secret, {"url": url, **({"ca": ca} if ca else {})})
        text = encode(Registration(secret=secret, **decisions), name=name)
        path = f"/coffre/{self.info['stack']}/databases/{name}"
        self.client("ssm").put_parameter(Name=path, Value=text, Type="String", Overwrite=True)
        return name

    def target(self, url: str) -> str:
        """Put a restore's target into a secret; the secret's name."""
        secret = f"coffre/{self.info['stack']}/targets/t{next(self._numbers)}"
        self._put_secret(secret, {"url": url})
        return secret

    @cached_property
    def store(self) -> ObjectStore:
        """The vault."""
        return ObjectStore(self.s3, self.bucket)

    @cached_property
    def seal_keys(self) -> SealKeys:
        """The keys of sealed backups."""
        return SealKeys(lambda _: self.client("kms"))

    @cached_property
    def catalogue(self) -> Catalogue:
        """The catalogue."""
        return Catalogue(self.client("dynamodb"), str(self.info["table"]))

    @cached_property
    def publisher(self) -> Publisher:
        """Where the functions publish."""
        return Publisher(self.client("events"), "default", str(self.info["stack"]))

    @cached_property
    def registry(self) -> Registry:
        """The registered databases."""
        path = f"/coffre/{self.info['stack']}/databases"
        return Registry(self.client("ssm"), self.client("secretsmanager"), path)

    def manifest(self, database: str, backup_id: str = "latest") -> Manifest:
        """A backup's manifest."""
        return load_manifest(self.store, database, backup_id)[0]

    def records(self, database: str, backup_id: str = "latest") -> Iterator[Any]:
        """The records of all parts of a backup."""
        manifest, _, seal = self.seal_keys.load(self.store, database, backup_id)
        for part in manifest.parts:
            yield from read_part(self.store.with_seal(seal), part)

    def keys(self, prefix: str) -> list[str]:
        """The visible keys below a prefix."""
        return [item.key for item in self.store.objects(prefix)]

    def manifests(self, database: str) -> list[str]:
        """The keys of a database's manifests: its backups."""
        return [key for key in self.keys(Layout(database).backups) if key.endswith("/manifest.json")]

    def events(self, database: str) -> list[Event]:
        """Everything that was published about a database so far, in the order of arrival."""
        self.drain()
        sqs = self.client("sqs")
        while found := sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                body = json.loads(message["Body"])
                self._events.append(Event(body["detail-type"], body["detail"]))
                sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return [event for event in self._events if event.detail.get("database") == database]

    def told(self, database: str, what: str) -> Event:
        """The newest event about ``what``, for example ``Proof``; others may come before or after it."""
        return [event for event in self.events(database) if event.type.startswith(f"{what} ")][-1]

    def lease_is_free(self, database: str) -> bool:
        """Whether a run could start now."""
        self.catalogue.acquire(database, "test", utc_now() + timedelta(minutes=1))
        return self.catalogue.release(database, "test")

    def _put_secret(self, name: str, content: dict[str, str]) -> None:
        secrets = self.client("secretsmanager")
        try:
            secrets.create_secret(Name=name, SecretString=json.dumps(content))
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=name, SecretString=json.dumps(content))

    def _listen(self) -> str:
        """A queue that gets everything that the functions publish; its URL."""
        sqs, events = self.client("sqs"), self.client("events")
        url: str = sqs.create_queue(QueueName="published")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_rule(Name="published", EventPattern=json.dumps({"source": ["coffre"]}))
        events.put_targets(Rule="published", Targets=[{"Id": "queue", "Arn": arn}])
        return url


def start_workers(setup: Sequence[Message], tick: Callable[[], None]) -> WorkerPool:
    """Real workers, for verbs that a test calls itself."""
    return worker_pool(handed_over(setup), tick, os.environ)


def handed_over(setup: Sequence[Message]) -> list[Message]:
    """The setups as `coffre.wiring.start_workers` completes them, with a client of the environment's."""
    return [
        {**one, "store": ObjectStore(boto3.client("s3"), one["bucket"]).hand_over()}
        if "bucket" in one
        else one
        for one in setup
    ]
