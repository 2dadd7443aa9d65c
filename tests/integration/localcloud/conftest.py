"""A local cloud of a small template of the tests' own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import localcloud
from tests.support.waiting import PATIENCE_SECONDS

TEMPLATE = Path(__file__).parent / "fixture" / "template.yaml"


class Desk:
    """Short ways to what tests do again and again."""

    def __init__(self, cloud: localcloud.LocalCloud) -> None:
        self.cloud = cloud
        self.s3 = cloud.client("s3")
        self.sqs = cloud.client("sqs")
        self.functions = cloud.client("lambda")

    def invoke(self, function: str, event: Any, **options: Any) -> tuple[Any, str | None]:
        """Invoke and wait; the payload and the kind of error."""
        name = self.cloud.functions[function]
        answer = self.functions.invoke(FunctionName=name, Payload=json.dumps(event), **options)
        return json.load(answer["Payload"]), answer.get("FunctionError")

    def send(self, function: str, event: Any) -> None:
        """Invoke asynchronously."""
        name = self.cloud.functions[function]
        answer = self.functions.invoke(FunctionName=name, Payload=json.dumps(event), InvocationType="Event")
        assert answer["StatusCode"] == 202

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """Take all messages of a queue; each a dictionary from its JSON body."""
        url, taken = self.cloud.resources[queue], []
        while found := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                taken.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return taken


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[localcloud.LocalCloud]:
    """One cloud for the tests of a file: moto's own state is reset by tests of other folders."""
    with localcloud.up(TEMPLATE, state=tmp_path_factory.mktemp("state")) as made:
        yield made


@pytest.fixture
def desk(cloud: localcloud.LocalCloud) -> Iterator[Desk]:
    """The cloud with its queues empty, before and after."""
    made = Desk(cloud)
    yield made
    assert cloud.drain(PATIENCE_SECONDS)
    for queue in ("Received", "Failed", "Dead"):
        made.messages(queue)
