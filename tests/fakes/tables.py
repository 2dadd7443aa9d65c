"""The catalogue's table, as the template defines it."""

from __future__ import annotations

from typing import Any

TABLE = "catalogue"


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
