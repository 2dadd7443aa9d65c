"""Update expressions mean to DynamoDB's stand-in what they meant before its traversal was replaced."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.dynamodb.parsing import ast_nodes

from localcloud import expressions

MOTOS = ast_nodes.DepthFirstTraverser.traverse_node_recursively
"""moto's own; only ``traverse``, which calls it, is replaced."""

UPDATES = [
    ("SET a = :n, b.c = :s, d = if_not_exists(d, :n), e = e + :n", {}),
    ("SET l = list_append(l, :l) REMOVE f ADD g :n DELETE h :set", {}),
    ("REMOVE l[0], l[2], b.c SET #odd = :s", {"#odd": "name.with.dots"}),
    ("SET a = :n, a = :n", {}),
    ("SET a = :n SET b = :n", {}),
    ("SET absent.inner = :n", {}),
    ("SET a = :n REMOVE f, a", {}),
    ("SET b = :s, b.c = :n, e = :n", {}),
    ("ADD g :n ADD e :n", {}),
    ("SET k = :s", {}),
    ("SET e = l + :n", {}),
]
VALUES = {
    ":n": {"N": "5"},
    ":s": {"S": "text"},
    ":l": {"L": [{"N": "9"}]},
    ":set": {"SS": ["x"]},
}
ITEM: dict[str, Any] = {
    "k": {"S": "one"},
    "b": {"M": {"c": {"S": "old"}, "z": {"BOOL": True}}},
    "e": {"N": "1"},
    "f": {"S": "goes"},
    "g": {"N": "2"},
    "h": {"SS": ["x", "y"]},
    "l": {"L": [{"N": "1"}, {"N": "2"}, {"N": "3"}]},
}


def outcome(expression: str, names: dict[str, str]) -> Any:
    """The item after an update, or the error."""
    with mock_aws():
        table = boto3.client("dynamodb", region_name="eu-west-1")
        table.create_table(
            TableName="t",
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        table.put_item(TableName="t", Item=ITEM)
        values = {
            name: value for name, value in VALUES.items() if name in expression.replace(",", " ").split()
        }
        values |= {name: value for name, value in VALUES.items() if f"{name})" in expression}
        asked = {"ExpressionAttributeNames": names} if names else {}
        if values:
            asked["ExpressionAttributeValues"] = values
        try:
            table.update_item(TableName="t", Key={"k": ITEM["k"]}, UpdateExpression=expression, **asked)
        except ClientError as error:
            return error.response["Error"]
        return table.get_item(TableName="t", Key={"k": ITEM["k"]})["Item"]


@pytest.mark.parametrize(("expression", "names"), UPDATES)
def test_an_update_gives_what_motos_own_traversal_gives(
    monkeypatch: pytest.MonkeyPatch, expression: str, names: dict[str, str]
) -> None:
    expressions.install()
    ours = outcome(expression, names)
    monkeypatch.setattr(ast_nodes.DepthFirstTraverser, "traverse", MOTOS)
    monkeypatch.delattr(ast_nodes.Node, "__deepcopy__")
    assert ours == outcome(expression, names)
    assert ours != ITEM
