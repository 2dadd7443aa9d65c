"""The catalogue's table, as the template defines it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import boto3
import pytest

TABLE = "catalogue"


@cache
def dynamodb() -> Any:
    """A client for use under ``mock_aws``; all tests share it, because making one takes its time."""
    make: Any = boto3.client
    return make("dynamodb", region_name="eu-west-1", aws_access_key_id="tests", aws_secret_access_key="tests")


def send_updates_twice(client: Any, monkeypatch: pytest.MonkeyPatch, between: Callable[[], object]) -> None:
    """Let each update of a client be sent again, as if its answer was lost, after something else happened."""
    update = client.update_item

    def sent_twice(**request: Any) -> Any:
        monkeypatch.setattr(client, "update_item", update)
        try:
            update(**request)
            between()
            return update(**request)
        finally:
            monkeypatch.setattr(client, "update_item", sent_twice)

    monkeypatch.setattr(client, "update_item", sent_twice)


def create_table(client: Any) -> str:
    """Create the table with a DynamoDB client; its name."""
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
    )
    return TABLE
